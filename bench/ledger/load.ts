// One process that loads a ledger: as fast as its callers can, or at a rate of its own.
// Usage: fork('load.ts', [file, JSON of a Load]); it sends one Finding.
import { randomUUID } from 'node:crypto'
import { createHistogram } from 'node:perf_hooks'
import { realClock } from '../../src/core/clock.ts'
import type { Ledger, LedgerCall } from '../../src/ledger/ledger.ts'
import { openSqliteLedger } from '../../src/ledger/sqlite/sqlite-ledger.ts'

export type Load =
  | { readonly kind: 'closed'; readonly callers: number; readonly ms: number }
  | { readonly kind: 'open'; readonly perSecond: number; readonly ms: number }

export interface Finding {
  readonly perSecond: number
  /** From the intended start of a reservation to its answer. */
  readonly p50Ms: number
  readonly p99Ms: number
}

const WARM_UP_MS = 500
const BUDGET = {
  subject: 'user:alice',
  amount: 9_000_000_000_000_000,
  period: { unit: 'month', timeZone: 'Europe/Berlin' },
  warnAt: [80, 100],
  isShadow: false,
} as const

const [, , file = '', loadText = '{}'] = process.argv
const load: Load = JSON.parse(loadText)
const clock = realClock()
const fail = (why: unknown): void => {
  throw new Error(String(why))
}
const ledger = await openSqliteLedger({
  file,
  holder: randomUUID(),
  clock,
  patienceMs: 60_000,
  events: { unavailable: fail, returned: fail, recovered: fail, warned: () => {}, failed: fail },
})
const waits = createHistogram()
let settled = 0

const start = (ms: number): Promise<void> =>
  load.kind === 'closed' ? closedLoop(load.callers, ms) : openLoop(load.perSecond, ms)
await start(WARM_UP_MS)
waits.reset()
settled = 0
const startedAt = performance.now()
await start(load.ms)
const seconds = (performance.now() - startedAt) / 1000
await ledger.close(5000)
const finding: Finding = {
  perSecond: settled / seconds,
  p50Ms: waits.percentile(50) / 1e6,
  p99Ms: waits.percentile(99) / 1e6,
}
process.send?.(finding)
process.disconnect?.()

async function closedLoop(callers: number, ms: number): Promise<void> {
  const until = performance.now() + ms
  const caller = async (): Promise<void> => {
    while (performance.now() < until) await request(ledger, performance.now())
  }
  await Promise.all(Array.from({ length: callers }, caller))
}

/** Poisson arrivals: a request begins when it is due, whether or not those before it have ended. */
async function openLoop(perSecond: number, ms: number): Promise<void> {
  const begun: Promise<void>[] = []
  const until = performance.now() + ms
  for (let dueAt = performance.now(); dueAt < until; ) {
    dueAt += (-Math.log(1 - Math.random()) * 1000) / perSecond
    const waitMs = dueAt - performance.now()
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    begun.push(request(ledger, Math.max(dueAt, performance.now())))
  }
  await Promise.all(begun)
}

async function request(on: Ledger, dueAt: number): Promise<void> {
  const call: LedgerCall = {
    id: randomUUID(),
    user: 'alice',
    team: 'research',
    key: 'ci',
    tier: 'pro',
    provider: 'anthropic',
    model: 'claude-sonnet-4',
  }
  await on.reserve({ call, at: clock.now(), amount: 20_000, budgets: [BUDGET] })
  waits.record(Math.max(1, Math.round((performance.now() - dueAt) * 1e6)))
  await on.settle({
    call,
    attempt: 1,
    at: clock.now(),
    cost: 15_000,
    outcome: 'answered',
    isExact: true,
    inputTokens: 300,
    cacheReadTokens: 20_000,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 400,
  })
  settled++
}
