// One dollar, four processes that spend it as fast as they can, and no mercy: what all the rest is for.
// Must not know: how a process spends (ledger-spender.ts).
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import type { Balance, Budget, Ledger } from '../../src/ledger/ledger.ts'
import { freshSchema } from '../servers/postgres.ts'
import { until } from '../servers/until.ts'
import {
  CAREFUL,
  HASTY,
  type LedgerPlace,
  openPlace,
  type Spender,
  type SpenderPlan,
  startSpender,
} from './ledger-spender.ts'

const PROCESSES = 4
/** Of each process, at once: a thousand in all. */
const CALLERS = 250
const REQUESTS = 2000
const KILLINGS = 2
/** In each, and all of them in the end. */
const KILLED = 3
/** Between a process's start and its end, in requests. */
const LONGEST_LIFE = 60

const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-ledger-'))
const compiled = path.join(os.tmpdir(), 'node-compile-cache')
afterAll(() => rm(folder, { recursive: true }))

const spenders: Spender[] = []
const ledgers: Ledger[] = []
afterEach(async () => {
  await Promise.all(spenders.splice(0).map((spender) => spender.kill()))
  await Promise.all(ledgers.splice(0).map((ledger) => ledger.close(0)))
})

function start(plan: SpenderPlan): Spender {
  const spender = startSpender(plan, compiled)
  spenders.push(spender)
  return spender
}

async function open(place: LedgerPlace, holder: string, lifeMs?: number): Promise<Ledger> {
  const ledger = await openPlace(place, holder, lifeMs)
  ledgers.push(ledger)
  return ledger
}

async function balanceOf(ledger: Ledger, budget: Budget): Promise<Balance> {
  const [balance] = await ledger.balances([budget], Date.now())
  if (!balance) throw new Error('there is a balance for each budget')
  return balance
}

/** One look at the budget whose requests set aside the most that they can cost. */
async function look(ledger: Ledger): Promise<Balance> {
  const balance = await balanceOf(ledger, CAREFUL)
  expect(balance.spent + balance.reserved).toBeLessThanOrEqual(CAREFUL.amount)
  return balance
}

/** Looks again and again, and counts the looks in the midst of the spending. */
async function watch(ledger: Ledger, isOver: () => boolean): Promise<number> {
  let looks = 0
  // In between the spenders have the machine to themselves.
  for (; !isOver(); await pause(20)) {
    const { spent, reserved } = await look(ledger)
    if (spent > 0 && reserved > 0) looks++
  }
  return looks
}

interface Charged {
  /** What each request cost in all, by its id. */
  readonly costs: ReadonlyMap<string, number>
  /** How many were charged what a dead process had set aside for them. */
  readonly lost: number
}

/** Throws when a request is charged twice. */
async function charged(ledger: Ledger, { subject }: Budget): Promise<Charged> {
  const costs = new Map<string, number>()
  let lost = 0
  for await (const { call, cost, outcome } of ledger.events({ ...ALWAYS, subject })) {
    // Something that a dead process had sent may have come late: it only corrects.
    if (outcome !== 'corrected') expect(costs.has(call.id), call.id).toBe(false)
    costs.set(call.id, (costs.get(call.id) ?? 0) + (cost ?? 0))
    if (outcome === 'lost') lost++
  }
  return { costs, lost }
}

const sum = (amounts: Iterable<number>): number => [...amounts].reduce((a, b) => a + b, 0)

const confirmed = (all: readonly Spender[]): Map<string, number> =>
  new Map(all.flatMap(({ settled }) => [...settled]))

const PLACES: readonly (readonly [string, (name: string) => Promise<LedgerPlace>])[] = [
  ['SQLite', async (name) => ({ kind: 'sqlite', file: path.join(folder, `${name}.db`) })],
  ['Postgres', async () => ({ kind: 'postgres', url: await freshSchema() })],
]

describe.each(PLACES)('one dollar on %s', { timeout: 90_000 }, (_, placeOf) => {
  it('is never overspent by a thousand requests at once, and its events add up to what was spent', async () => {
    const place = await placeOf('spent')
    const ledger = await open(place, 'observer')
    const plan = { place, budgets: [CAREFUL], callers: CALLERS, requests: REQUESTS / PROCESSES }
    const all = Array.from({ length: PROCESSES }, (_, seed) =>
      start({ ...plan, name: `spender-${seed}`, seed }),
    )
    await Promise.all(all.map((spender) => spender.isReady()))
    for (const spender of all) spender.go()
    let isOver = false
    const ending = Promise.all(all.map((spender) => spender.finish())).finally(() => {
      isOver = true
    })
    const [looks] = await Promise.all([watch(ledger, () => isOver), ending])
    expect(looks).toBeGreaterThan(0)
    expect(sum(all.map(({ ended }) => ended))).toBe(REQUESTS)
    // Many came when there was hardly anything left.
    expect(confirmed(all).size).toBeLessThan(0.5 * REQUESTS)
    const { spent, reserved } = await look(ledger)
    expect((await charged(ledger, CAREFUL)).costs).toEqual(confirmed(all))
    expect(sum(confirmed(all).values())).toBe(spent)
    expect((await ledger.total({ ...ALWAYS, subject: CAREFUL.subject })).cost).toBe(spent)
    expect(reserved).toBe(0)
  })

  it('is accounted for to the last nano-dollar when its spenders are killed at any moment', async () => {
    const place = await placeOf('killed')
    const ledger = await open(place, 'observer')
    const random = seededRandom(1)
    const startOne = (): Spender => {
      const seed = spenders.length
      const plan = {
        place,
        budgets: [CAREFUL, HASTY],
        callers: 8,
        requests: Number.MAX_SAFE_INTEGER,
      }
      const spender = start({ ...plan, name: `spender-${seed}`, seed })
      spender.go()
      return spender
    }
    let alive = Array.from({ length: PROCESSES }, startOne)
    for (let killings = 0; killings < KILLINGS; killings++) {
      const inRandomOrder = alive
        .map((spender) => ({ spender, place: random() }))
        .toSorted((a, b) => a.place - b.place)
        .map(({ spender }) => spender)
      const doomed = inRandomOrder.slice(0, KILLED)
      await Promise.all(
        doomed.map(async (one) => {
          await one.hasEnded(1 + Math.floor(random() * LONGEST_LIFE))
          await one.kill()
        }),
      )
      alive = [...inRandomOrder.slice(KILLED), ...doomed.map(startOne)]
      await look(ledger)
    }
    await Promise.all(alive.map((one) => one.hasEnded(1)))
    await Promise.all(alive.map((one) => one.kill()))

    // All before it have been silent for longer than that.
    const heir = await open(place, 'heir', 1)
    const isFree = async (budget: Budget) => (await balanceOf(heir, budget)).reserved === 0
    await until('nothing is set aside', async () => (await isFree(CAREFUL)) && isFree(HASTY))
    const careful = await charged(heir, CAREFUL)
    const hasty = await charged(heir, HASTY)
    expect(sum(careful.costs.values())).toBe((await look(heir)).spent)
    expect(sum(hasty.costs.values())).toBe((await balanceOf(heir, HASTY)).spent)
    expect(careful.lost + hasty.lost).toBeGreaterThan(0)
    const settled = confirmed(spenders)
    expect(settled.size).toBeGreaterThan(KILLINGS * KILLED)
    const costs = new Map([...careful.costs, ...hasty.costs])
    for (const [id, cost] of settled) expect([id, costs.get(id)]).toEqual([id, cost])
  })
})
