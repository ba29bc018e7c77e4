// Which of the provider's batches is one that a killed program was about to create: on virtual time, up to the
// emulator.
import { afterEach, describe, expect, it } from 'vitest'
import type { BatchJournal, PendingBatch } from '../../src/fleet/batch/batch-record.ts'
import {
  closeEmulators,
  HOUR_MS,
  indexes,
  type MemoryJournal,
  open,
  payload,
  reasons,
  refusal,
  some,
  until,
  upTo,
} from './virtual-batches.ts'

afterEach(closeEmulators)

describe('a job that was stopped', () => {
  it('goes on with the batches that it had sent', async () => {
    const { dispatch, results, settled, journal, emulator } = await open(
      { batchMs: HOUR_MS },
      { requests: 4 },
    )
    const first = dispatch(some(10))
    const { value } = await settled(first.next())
    await first.return(undefined)
    const pending = journal.pending
    expect(pending.map(({ payloads }) => payloads.length)).toEqual([4, 4, 2])
    const rest = await results([payload(10)], { pending })
    // The journal says whole batches, so what was taken before comes once more.
    expect(indexes(rest)).toEqual(upTo(11))
    expect(rest.find(({ index }) => index === value?.index)).toMatchObject({ kind: 'answered' })
    expect(emulator.report().totals.batchRequests).toBe(11)
    expect(journal.pending).toEqual([])
  })

  it('finds the batch whose creation it did not live to see', async () => {
    const { results, journal, emulator, madeBatches } = await open()
    const killed: BatchJournal = {
      submitting: (batch) => journal.submitting(batch),
      submitted: () => Promise.reject(new Error('killed')),
      ended: (batch) => journal.ended(batch),
    }
    await expect(results(some(3), { journal: killed })).rejects.toThrow('killed')
    const pending = journal.pending
    expect(pending).toMatchObject([{ batchId: null, size: 3 }])
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(madeBatches()).toBe(1)
    expect(emulator.report().totals.batchRequests).toBe(3)
  })

  it('does not take another batch for it, and says what was not sent', async () => {
    const { results, clock } = await open()
    await results(some(2))
    expect(await results([], { pending: [inDoubt(1, clock.now())] })).toMatchObject([
      { index: 0, costNanoUsd: 0, error: { type: 'batch_not_submitted', isRetryable: true } },
    ])
  })
})

describe('a batch that may be the one in doubt', () => {
  it('is not, when the same job had made it', async () => {
    const { dispatch, results, meet, settled, journal } = await open({}, { requests: 2 })
    let creations = 0
    meet((method) =>
      method === 'POST' && ++creations > 1 ? refusal(429, 'rate_limit_error') : null,
    )
    const first = dispatch(some(4), { journal: forgetful(journal) })
    const answers = [await settled(first.next()), await settled(first.next())]
    expect(answers.map(({ value }) => value?.kind)).toEqual(['answered', 'answered'])
    // The second one is tried while nothing is left of the first.
    const third = first.next()
    await settled(until(() => creations > 4))
    void third.catch(() => {})
    const { pending } = journal
    expect(pending).toMatchObject([{ batchId: null, size: 2 }])
    meet(() => null)
    const rest = await results([], { pending })
    expect(reasons(rest)).toEqual(NEITHER_SENT([2, 3]))
    expect(rest.map(({ costNanoUsd }) => costNanoUsd)).toEqual([0, 0])
  })

  it('is not, when another program had made it and it has not ended', async () => {
    const { results, send, clock, events } = await open({ batchMs: HOUR_MS })
    await send('POST', '/v1/messages/batches', strangers(2))
    const rest = await results([], { pending: [inDoubt(2, clock.now())] })
    expect(reasons(rest)).toEqual(NEITHER_SENT([0, 1]))
    expect(rest.map(({ costNanoUsd }) => costNanoUsd)).toEqual([0, 0])
    expect(events.some(({ kind }) => kind === 'batch_submitted')).toBe(false)
  })

  it('is the one whose requests have its names', async () => {
    const { results, send, journal, emulator } = await open({ batchMs: HOUR_MS })
    await send('POST', '/v1/messages/batches', strangers(3))
    const killed: BatchJournal = {
      submitting: (batch) => journal.submitting(batch),
      submitted: () => Promise.reject(new Error('killed')),
      ended: (batch) => journal.ended(batch),
    }
    await expect(results(some(3), { journal: killed })).rejects.toThrow('killed')
    await send('POST', '/v1/messages/batches', strangers(3))
    const given = await results([], { pending: journal.pending })
    expect(Object.values(reasons(given))).toEqual(upTo(3).map(() => 'answered'))
    expect(new Set(given.map(({ batchId }) => batchId)).size).toBe(1)
    expect(journal.lines.slice(-2)).toEqual(['submitted 3', 'ended 3'])
    expect(emulator.report().totals.batchRequests).toBe(9)
  })

  it('is not taken while the journal cannot be written', async () => {
    const { results, journal } = await open()
    const killed = { ...forgetful(journal), submitted: () => Promise.reject(new Error('killed')) }
    await expect(results(some(1), { journal: killed })).rejects.toThrow('killed')
    const { pending } = journal
    const full = { ...forgetful(journal), submitted: () => Promise.reject(new Error('disk full')) }
    await expect(results([], { pending, journal: full })).rejects.toThrow('disk full')
    expect(reasons(await results([], { pending }))).toEqual({ 0: 'answered' })
  })

  it('is each its own, when two are in doubt', async () => {
    const { results, journal, emulator } = await open({ batchMs: HOUR_MS }, { requests: 3 })
    const killed: BatchJournal = {
      submitting: (batch) => journal.submitting(batch),
      submitted: () => Promise.reject(new Error('killed')),
      ended: (batch) => journal.ended(batch),
    }
    await expect(results(some(3), { journal: killed })).rejects.toThrow('killed')
    const more = some(6).slice(3)
    await expect(results(more, { journal: killed })).rejects.toThrow('killed')
    const pending = journal.pending.toReversed()
    expect(pending).toHaveLength(2)
    const given = await results([], { pending })
    expect(Object.values(reasons(given))).toEqual(upTo(6).map(() => 'answered'))
    expect(journal.pending).toEqual([])
    expect(emulator.report().totals.batchRequests).toBe(6)
  })
})

const NEITHER_SENT = (indexes: readonly number[]) =>
  Object.fromEntries(indexes.map((index) => [index, ['batch_not_submitted', true]]))

/** What a killed program has left that was about to create a batch. */
const inDoubt = (size: number, sentAt: number): PendingBatch => ({
  name: 'hg_ours',
  batchId: null,
  payloads: upTo(size).map((index) => ({ id: `row ${index}`, index, worstNanoUsd: 1000 })),
  size,
  sentAt,
})

const strangers = (count: number): Buffer => {
  const requests = some(count).map(({ index, body }) => ({
    custom_id: `row-${index}`,
    params: JSON.parse(body.toString()),
  }))
  return Buffer.from(JSON.stringify({ requests }))
}

/** Does not hear that a batch was refused: as if the program had been killed before. */
const forgetful = (journal: MemoryJournal): BatchJournal => ({
  submitting: (batch) => journal.submitting(batch),
  submitted: (batch) => journal.submitted(batch),
  ended: (batch) => journal.ended(batch),
})
