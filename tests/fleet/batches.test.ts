// A fleet whose payloads go one by one and as batches, up to the emulator.
import { afterEach, expect, it } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import { putEngine } from '../../src/engine/behind.ts'
import { openEngine } from '../../src/engine/engine.ts'
import { readConfig } from '../../src/engine/program-config.ts'
import { engineEvents, gateEvents } from '../../src/engine/program-events.ts'
import {
  type BatchJournal,
  Fleet,
  type FleetOptions,
  type FleetResult,
  type PendingBatch,
} from '../../src/fleet/fleet.ts'
import { all } from './virtual-job.ts'

const DAY_MS = 86_400_000

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** On a clock that runs a hundred times as fast: batches are looked at every ten seconds at most. */
async function open(options: FleetOptions = {}, batchMs = 50) {
  const emulator = await startEmulator({
    clock: realClock(),
    random: seededRandom(1),
    settings: { ttftMs: 0, tokensPerSecond: 5000, batchMs },
  })
  cleanUps.push(() => emulator.close())
  const engine = await openEngine({
    settings: readConfig({ providers: { anthropic: { base_url: emulator.url } } }).settings,
    clock: realClock(100),
    random: seededRandom(1),
    events: engineEvents(gateEvents({})),
    keepsBooks: false,
  })
  cleanUps.push(() => engine.close())
  const gate = {}
  putEngine(gate, engine)
  const fleet = new Fleet({ gate, apiKey: 'k', ...options })
  cleanUps.push(() => fleet.close())
  return { emulator, fleet }
}

const payload = (id: string, withinMs?: number, more = '') => ({
  id,
  params: {
    model: 'claude-haiku-4-5',
    max_tokens: 3000,
    messages: [{ role: 'user', content: `What is ${id}?${more}` }],
  },
  ...(withinMs === undefined ? {} : { withinMs }),
})

const lanesOf = (results: readonly FleetResult[]): string[] =>
  results.flatMap((result) =>
    result.kind === 'answered' ? [`${result.id} ${result.via ?? 'direct'}`] : [],
  )

it('gives the results of both lanes in one stream, each once', async () => {
  const { emulator, fleet } = await open()
  const inputs = [payload('a', DAY_MS), payload('b'), payload('c', DAY_MS), payload('d', 1000)]
  const results = await all(fleet.dispatch(inputs))
  expect(lanesOf(results).sort()).toEqual(['a batch', 'b direct', 'c batch', 'd direct'])
  const { totals } = emulator.report()
  expect([totals.batchRequests, totals.admitted]).toEqual([2, 2])
})

it('keeps to the order in which payloads were handed in, where it is asked to', async () => {
  const { fleet } = await open({ order: 'submission', within: DAY_MS })
  const inputs = [payload('a'), payload('b', 0), payload('c'), payload('d', 0)]
  const results = await all(fleet.dispatch(inputs))
  expect(lanesOf(results)).toEqual(['a batch', 'b direct', 'c batch', 'd direct'])
})

/** A journal in memory; `onSubmitted` hears of each batch that exists. */
function remembering(onSubmitted: () => void) {
  const pending = new Map<string, PendingBatch>()
  const journal: BatchJournal = {
    submitting: async (batch) => void pending.set(batch.name, batch),
    submitted: async (batch) => {
      pending.set(batch.name, batch)
      onSubmitted()
    },
    ended: async ({ name }) => void pending.delete(name),
  }
  return { journal, pending: () => [...pending.values()] }
}

it('leaves batches with the provider when it is stopped, and goes on with them later', async () => {
  const { emulator, fleet } = await open({ within: DAY_MS, order: 'submission' }, 500)
  const stop = new AbortController()
  const batches = remembering(() => stop.abort())
  const { signal } = stop
  const inputs = [payload('a', 0), payload('b'), payload('c')]
  const before = await all(
    fleet.dispatch(inputs, { stop: signal, batches: { journal: batches.journal } }),
  )
  expect(lanesOf(before)).toEqual(['a direct'])
  expect(batches.pending().map(({ payloads }) => payloads.map(({ id }) => id))).toEqual([
    ['b', 'c'],
  ])
  // Their indexes are those of other payloads by now.
  const slow = payload('d', 0, '[[emulate output=2900]]')
  const after = await all(
    fleet.dispatch([slow, payload('e', 0), payload('f', 0)], {
      batches: { journal: batches.journal, pending: batches.pending() },
    }),
  )
  const direct = ['d direct', 'e direct', 'f direct']
  expect(lanesOf(after).sort()).toEqual(['b batch', 'c batch', ...direct])
  expect(lanesOf(after).filter((result) => direct.includes(result))).toEqual(direct)
  expect(batches.pending()).toEqual([])
  expect(emulator.report().totals.batchRequests).toBe(2)
})
