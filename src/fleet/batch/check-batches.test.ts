import { expect, it } from 'vitest'
import { Fleet } from '../fleet.ts'

const journal = { submitting() {}, submitted() {}, ended() {} }

const pending = {
  name: 'hg_0000000000',
  batchId: null,
  payloads: [{ id: 'a', index: 0 }],
  size: 1,
  sentAt: 0,
}

/** As a program without types may hand it in. */
async function told(batches: unknown): Promise<string> {
  const fleet = new Fleet({ apiKey: 'k' })
  const dispatch: unknown = Reflect.get(fleet, 'dispatch')
  if (typeof dispatch !== 'function') throw new Error('a fleet has jobs')
  try {
    await dispatch.call(fleet, [], { batches }).next()
    return 'nothing'
  } catch (error) {
    return String(error)
  } finally {
    await fleet.close()
  }
}

it.each([
  [null, 'ConfigError: batches: is no object'],
  [
    {},
    'ConfigError: batches.journal: is no journal: it needs the functions submitting, submitted and ended',
  ],
  [{ journal: { submitting() {} } }, 'ConfigError: batches.journal.submitted: is no function'],
  [
    { journal, pending: {} },
    'ConfigError: batches.pending: is no list of what the journal has pending',
  ],
  [
    { journal, pending: [{ ...pending, payloads: null }] },
    'ConfigError: batches.pending.0.payloads: is no list',
  ],
  [
    { journal, pending: [{ ...pending, payloads: [{ id: 'a', index: -1 }] }] },
    'ConfigError: batches.pending.0.payloads.0.index: is below 0',
  ],
  [{ journal, pending: [] }, 'nothing'],
])('says what is wrong with batches: %j', async (batches, line) => {
  expect(await told(batches)).toBe(line)
})
