// A fleet whose payloads go one by one and as batches, up to the emulator.
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import { putEngine } from '../../src/engine/behind.ts'
import { openEngine } from '../../src/engine/engine.ts'
import { readConfig } from '../../src/engine/program-config.ts'
import { engineEvents, gateEvents } from '../../src/engine/program-events.ts'
import {
  type BatchJournal,
  type DispatchOptions,
  Fleet,
  type FleetOptions,
  type FleetResult,
  type GateConfig,
  type PayloadInput,
  type PendingBatch,
} from '../../src/fleet/fleet.ts'
import { until } from '../servers/until.ts'
import { all } from './virtual-job.ts'

const MINUTE_MS = 60_000
const LONGEST_LINGER_MS = 50
const DAY_MS = 86_400_000
const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** With an emulator on the same virtual clock: time passes where nothing is on its way between them. */
async function open(options: FleetOptions = {}, config: GateConfig = {}) {
  const clock = new VirtualClock(Date.UTC(2026, 0, 5))
  const random = seededRandom(1)
  const settings = { ttftMs: 10, tokensPerSecond: 50, batchMs: 30 * MINUTE_MS }
  const emulator = await startEmulator({ clock, random, settings })
  cleanUps.push(() => emulator.close())
  const engine = await openEngine({
    settings: readConfig({
      ...config,
      providers: { anthropic: { ...config.providers?.anthropic, base_url: emulator.url } },
    }).settings,
    clock,
    random,
    events: engineEvents(gateEvents({})),
    keepsBooks: false,
  })
  cleanUps.push(() => engine.close())
  const gate = {}
  putEngine(gate, engine)
  const fleet = new Fleet({ gate, apiKey: 'k', ...options })
  cleanUps.push(() => fleet.close())
  const { dispatcher } = engine
  const { ledger } = dispatcher

  /** A disk takes real time, once what is to be written has waited a moment for more of it. */
  const isWriting = (): boolean =>
    ledger?.isAvailable === true &&
    ledger.pending > 0 &&
    clock.nextAt() > clock.now() + LONGEST_LINGER_MS

  async function gather(results: AsyncIterable<FleetResult>, onResult: () => void) {
    const gathered: FleetResult[] = []
    for await (const result of results) {
      onResult()
      gathered.push(result)
    }
    return gathered
  }
  async function results(
    inputs: PayloadInput[],
    more: DispatchOptions = {},
    onResult: () => void = () => {},
  ) {
    let isOver = false
    const end = (): void => {
      isOver = true
    }
    const gathered = gather(fleet.dispatch(inputs, more), onResult)
    gathered.then(end, end)
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve))
      if (!isOver && dispatcher.size === emulator.report().inFlight && !isWriting()) clock.step()
    }
    return await gathered
  }
  return { emulator, ledger, results }
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

const waysOf = (results: readonly FleetResult[]): string[] =>
  results.flatMap((result) =>
    result.kind === 'answered' ? [`${result.id} ${result.via ?? 'direct'}`] : [],
  )

it('gives the results of both ways in one stream, each once', async () => {
  const { emulator, results } = await open()
  const inputs = [payload('a', DAY_MS), payload('b'), payload('c', DAY_MS), payload('d', 1000)]
  const given = await results(inputs)
  expect(waysOf(given).sort()).toEqual(['a batch', 'b direct', 'c batch', 'd direct'])
  const { totals } = emulator.report()
  expect([totals.batchRequests, totals.admitted]).toEqual([2, 2])
})

it('keeps to the order in which payloads were handed in, where it is asked to', async () => {
  const { results } = await open({ order: 'submission', within: DAY_MS })
  const inputs = [payload('a'), payload('b', 0), payload('c'), payload('d', 0)]
  expect(waysOf(await results(inputs))).toEqual(['a batch', 'b direct', 'c batch', 'd direct'])
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
  const { emulator, results } = await open({ within: DAY_MS, order: 'submission' })
  const stop = new AbortController()
  const batches = remembering(() => stop.abort())
  const { signal } = stop
  const inputs = [payload('a', 0), payload('b'), payload('c')]
  const before = await results(inputs, { stop: signal, batches: { journal: batches.journal } })
  expect(waysOf(before)).toEqual(['a direct'])
  expect(batches.pending().map(({ payloads }) => payloads.map(({ id }) => id))).toEqual([
    ['b', 'c'],
  ])
  // Their indexes are those of other payloads by now.
  const slow = payload('d', 0, '[[emulate output=2900]]')
  const after = await results([slow, payload('e', 0), payload('f', 0)], {
    batches: { journal: batches.journal, pending: batches.pending() },
  })
  const direct = ['d direct', 'e direct', 'f direct']
  expect(waysOf(after).sort()).toEqual(['b batch', 'c batch', ...direct])
  expect(waysOf(after).filter((result) => direct.includes(result))).toEqual(direct)
  expect(batches.pending()).toEqual([])
  expect(emulator.report().totals.batchRequests).toBe(2)
})

/** A ledger in a file, and what other programs find there at any moment. */
async function ledgerFile() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-batches-'))
  const file = path.join(folder, 'ledger.db')
  const connect = (): Database.Database => new Database(file)
  cleanUps.push(() => rm(folder, { recursive: true }))
  const costs = (): readonly unknown[] => {
    const database = connect()
    try {
      return database.prepare('SELECT cost FROM events').pluck().all()
    } finally {
      database.close()
    }
  }
  return { config: { ledger: `sqlite:${file}` }, connect, costs }
}

const costsOf = (results: readonly FleetResult[]): unknown[] =>
  results.map((result) => (result.kind === 'answered' ? result.costNanoUsd : null))

it('has each result in the ledger before anybody has it, and once, however often it is read', async () => {
  const { config, costs } = await ledgerFile()
  const { ledger, results } = await open({ within: DAY_MS }, config)
  const before: number[] = []
  const pending: PendingBatch[] = []
  const journal: BatchJournal = {
    submitting: async () => {},
    submitted: async (batch) => void pending.push(batch),
    ended: async () => {},
  }
  const onResult = (): void => void before.push(costs().length)
  const inputs = [payload('a'), payload('b'), payload('c')]
  const given = await results(inputs, { batches: { journal } }, onResult)
  expect(before).toEqual([3, 3, 3])
  expect(costs().toSorted()).toEqual(costsOf(given).toSorted())
  // As if the first run had been killed before it knew that it had all of them.
  const again = await results([], { batches: { journal, pending } })
  expect(costsOf(again)).toEqual(costsOf(given))
  expect(costs().length).toBe(3)
  if (!ledger) throw new Error('there is one')
  const events = await all(ledger.events(ALWAYS))
  expect(events[0]).toMatchObject({
    call: { id: expect.stringMatching(/^hg_\w{10}-\d$/), user: null, provider: 'anthropic' },
    attempt: 1,
    outcome: 'answered',
    isExact: true,
  })
})

it('gives results while the ledger is away, and writes down what they cost when it is back', async () => {
  const { config, connect, costs } = await ledgerFile()
  const { results } = await open({ within: DAY_MS }, config)
  const other = connect()
  other.exec('BEGIN EXCLUSIVE')
  const given = await results([payload('a'), payload('b')])
  other.exec('COMMIT')
  other.close()
  expect(waysOf(given)).toEqual(['a batch', 'b batch'])
  await until('it is written down', async () => costs().length === 2)
  expect(costs().toSorted()).toEqual(costsOf(given).toSorted())
})

it('sends one by one what a budget binds', async () => {
  const { config, costs } = await ledgerFile()
  const tiers = { free: { budget: '1 USD/month' } }
  const { emulator, results } = await open(
    { within: DAY_MS },
    { ...config, tiers, default_tier: 'free' },
  )
  const given = await results([payload('a'), payload('b')])
  expect(waysOf(given).sort()).toEqual(['a direct', 'b direct'])
  expect(emulator.report().totals.batchRequests).toBe(0)
  expect(costs().toSorted()).toEqual(costsOf(given).toSorted())
})

it('goes by the limits that are configured', async () => {
  const limits = [{ match: 'claude-*', requests: '600/min' }]
  const within = 75 * MINUTE_MS
  // One by one they take half an hour: for a batch, and for them should it disappoint, there is no time.
  const some = await open({ within }, { providers: { anthropic: { limits } } })
  expect(waysOf(await some.results([payload('a')], { count: 18_000 }))).toEqual(['a direct'])
  const few = await open({ within }, { providers: { anthropic: { limits } } })
  expect(waysOf(await few.results([payload('a')], { count: 6000 }))).toEqual(['a batch'])
})

it('never sends alone for more time what would go as a batch', async () => {
  // At the least that the provider allows they take six hours.
  for (const hours of [1, 2, 5.9, 6.1, 6.9, 7.1]) {
    const { results } = await open({ within: hours * 60 * MINUTE_MS })
    expect(waysOf(await results([payload('a')], { count: 18_000 }))).toEqual(['a batch'])
  }
})
