// Batches through the gate, over real sockets. What becomes of them in trouble is proved on virtual time.
import { expect, test } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import type { Call } from '../../src/fleet/batch/batch-api.ts'
import type { BatchJournal, PendingBatch } from '../../src/fleet/batch/batch-record.ts'
import { type BatchRouteOptions, batchResults } from '../../src/fleet/batch/batch-route.ts'
import type { PlacedPayload } from '../../src/fleet/batch/draft.ts'
import { bodyOf } from '../../src/fleet/message-request.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { ask, type Harness, KEY, MODEL, openHarness } from '../harness.ts'

/** A minute passes in 60 ms. */
const SPEED = 1000

function callThrough({ url }: Harness): Call {
  return async (method, path, body, signal) => {
    const {
      status,
      headers,
      body: answer,
    } = await fetch(url + path, {
      method,
      headers: { 'x-api-key': KEY, 'content-type': 'application/json' },
      ...(body && { body: new Uint8Array(body) }),
      ...(signal && { signal }),
    })
    if (!answer) throw new Error('an answer without a body')
    return { status, headers: Object.fromEntries(headers), body: answer }
  }
}

function* prompts(count: number): Generator<PlacedPayload> {
  for (let index = 0; index < count; index++) {
    yield {
      id: `prompts.jsonl:${index + 1}`,
      index,
      body: bodyOf(ask(`Grade ${index}.`, { output: 5 })),
    }
  }
}

const PRICES = new Prices([{ match: 'claude-*', input: 2_000_000, output: 10_000_000 }])

function remembering() {
  const pending = new Map<string, PendingBatch>()
  const journal: BatchJournal = {
    submitting: async (batch) => void pending.set(batch.name, batch),
    submitted: async (batch) => void pending.set(batch.name, batch),
    ended: async ({ name }) => void pending.delete(name),
  }
  return { journal, pending }
}

/** Each has names of its own. */
let runs = 0

const through = (gate: Harness, journal: BatchJournal): BatchRouteOptions => ({
  call: callThrough(gate),
  clock: gate.clock,
  random: seededRandom(++runs),
  prices: PRICES,
  size: { requests: 1000 },
  journal,
})

test('answers thousands of prompts that the limits would let through in an hour', async () => {
  await using gate = await openHarness({ speed: SPEED })
  const { journal, pending } = remembering()
  const answered = new Map<string, number>()
  for await (const result of batchResults(prompts(3000), through(gate, journal))) {
    expect(result).toMatchObject({ kind: 'answered', via: 'batch', attempts: 1 })
    expect(answered.has(result.id)).toBe(false)
    answered.set(result.id, result.costNanoUsd ?? Number.NaN)
  }
  expect(answered.size).toBe(3000)
  expect(answered.has('prompts.jsonl:3000')).toBe(true)
  expect(pending.size).toBe(0)
  const { bills, totals } = gate.emulator.report()
  expect(totals).toMatchObject({ requests: 0, batchRequests: 3000 })
  const [bill, ...others] = bills
  const price = PRICES.priceOf('anthropic', bill?.model ?? '', 0)
  if (!bill || !price) throw new Error('nothing was billed')
  expect(others).toEqual([])
  const spent = [...answered.values()].reduce((sum, cost) => sum + cost, 0)
  expect(spent).toBe(costOf(price, bill, { isBatch: true }))
})

test('leaves the limits of who talks to the model as they are', async () => {
  await using gate = await openHarness({ speed: SPEED })
  const { journal } = remembering()
  const results = batchResults(prompts(500), through(gate, journal))
  expect((await results.next()).value).toMatchObject({ kind: 'answered' })
  await gate.client().messages.create(ask('Hello.'))
  const { limits } = gate.emulator.report()
  const ofModel = limits.find(({ group }) => group === MODEL)?.limits
  expect(ofModel).toContainEqual({ dimension: 'requests', amount: 50, lowest: 49 })
  expect(gate.emulator.report().totals).toMatchObject({ admitted: 1, batchRequests: 500 })
  await results.return(undefined)
})

test('goes on in another program with what the first one left', async () => {
  await using gate = await openHarness({ speed: SPEED })
  const first = remembering()
  const left = batchResults(prompts(2500), through(gate, first.journal))
  await left.next()
  await left.return(undefined)
  const pending = [...first.pending.values()]
  const sent = new Set(pending.flatMap(({ payloads }) => payloads.map(({ id }) => id)))
  const rest = [...prompts(2500)].filter(({ id }) => !sent.has(id))
  const second = remembering()
  const ids = new Set<string>()
  const options = { ...through(gate, second.journal), pending }
  for await (const { id } of batchResults(rest, options)) ids.add(id)
  expect(ids.size).toBe(2500)
  expect(gate.emulator.report().totals.batchRequests).toBe(2500)
  expect(second.pending.size).toBe(0)
})
