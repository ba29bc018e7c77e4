// One dollar, four processes that spend it as fast as they can, and no mercy: what all the rest is for.
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import type { Balance, Ledger } from '../../src/ledger/ledger.ts'
import { freshSchema } from '../servers/postgres.ts'
import {
  BUDGET,
  type LedgerPlace,
  openPlace,
  type Spender,
  type SpenderPlan,
  startSpender,
} from './ledger-spender.ts'

const PROCESSES = 4
const REQUESTS = 1000
const KILLS = 8
/** Between a process's start and its end, in requests. */
const LONGEST_LIFE = 60

const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-ledger-'))
afterAll(() => rm(folder, { recursive: true }))

const spenders: Spender[] = []
const ledgers: Ledger[] = []
afterEach(async () => {
  await Promise.all(spenders.splice(0).map((spender) => spender.kill()))
  await Promise.all(ledgers.splice(0).map((ledger) => ledger.close(0)))
})

function start(plan: SpenderPlan): Spender {
  const spender = startSpender(plan)
  spenders.push(spender)
  return spender
}

async function open(place: LedgerPlace, holder: string, lifeMs?: number): Promise<Ledger> {
  const ledger = await openPlace(place, holder, lifeMs)
  ledgers.push(ledger)
  return ledger
}

async function balanceOf(ledger: Ledger): Promise<Balance> {
  const [balance] = await ledger.balances([BUDGET], Date.now())
  if (!balance) throw new Error('there is a balance for each budget')
  return balance
}

/** Looks at the budget again and again, and throws when it is exceeded at any look. */
async function watch(ledger: Ledger, isOver: () => boolean): Promise<number> {
  let looks = 0
  // In between the spenders have the machine to themselves.
  for (; !isOver(); looks++, await pause(5)) {
    const { spent, reserved } = await balanceOf(ledger)
    expect(spent + reserved).toBeLessThanOrEqual(BUDGET.amount)
  }
  return looks
}

/** What each request cost in all, by id; throws when one is there twice. */
async function costs(ledger: Ledger): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { call, cost } of ledger.events(ALWAYS)) {
    expect(found.has(call.id), call.id).toBe(false)
    found.set(call.id, cost ?? 0)
  }
  return found
}

const sum = (amounts: Iterable<number>): number => [...amounts].reduce((a, b) => a + b, 0)

const confirmed = (all: readonly Spender[]): Map<string, number> =>
  new Map(all.flatMap(({ settled }) => [...settled]))

const PLACES: readonly (readonly [string, (name: string) => Promise<LedgerPlace>])[] = [
  ['SQLite', async (name) => ({ kind: 'sqlite', file: path.join(folder, `${name}.db`) })],
  ['Postgres', async () => ({ kind: 'postgres', url: await freshSchema() })],
]

describe.each(PLACES)('one dollar on %s', { timeout: 90_000 }, (_, placeOf) => {
  it('is never overspent by four processes, and its events add up to what was spent', async () => {
    const place = await placeOf('spent')
    const ledger = await open(place, 'observer')
    const all = Array.from({ length: PROCESSES }, (_, seed) =>
      start({ place, name: `spender-${seed}`, seed, requests: REQUESTS / PROCESSES }),
    )
    let isOver = false
    const ending = Promise.all(all.map((spender) => spender.finish())).finally(() => {
      isOver = true
    })
    const [looks] = await Promise.all([watch(ledger, () => isOver), ending])
    expect(looks).toBeGreaterThan(10)
    expect(sum(all.map(({ ended }) => ended))).toBe(REQUESTS)
    // Many came when there was hardly anything left.
    expect(confirmed(all).size).toBeLessThan(0.75 * REQUESTS)
    const { spent, reserved } = await balanceOf(ledger)
    expect(await costs(ledger)).toEqual(confirmed(all))
    expect(sum(confirmed(all).values())).toBe(spent)
    expect((await ledger.total({ ...ALWAYS, subject: BUDGET.subject })).cost).toBe(spent)
    expect(reserved).toBe(0)
  })

  it('is accounted for to the last nano-dollar when its spenders are killed at any moment', async () => {
    const place = await placeOf('killed')
    const ledger = await open(place, 'observer')
    const random = seededRandom(1)
    let started = 0
    const startOne = (): Spender => {
      const seed = started++
      return start({ place, name: `spender-${seed}`, seed, requests: Number.MAX_SAFE_INTEGER })
    }
    const slots = Array.from({ length: PROCESSES }, startOne)
    for (let kills = 0; kills < KILLS; kills++) {
      const slot = Math.floor(random() * PROCESSES)
      const doomed = slots[slot]
      if (!doomed) throw new Error('there is a process in each slot')
      await doomed.hasEnded(1 + Math.floor(random() * LONGEST_LIFE))
      await doomed.kill()
      slots[slot] = startOne()
      const { spent, reserved } = await balanceOf(ledger)
      expect(spent + reserved).toBeLessThanOrEqual(BUDGET.amount)
    }
    await Promise.all(slots.map((slot) => slot.kill()))

    const { spent: spentBefore, reserved: heldByTheDead } = await balanceOf(ledger)
    // All before it have been silent for longer than that.
    const heir = await open(place, 'heir', 1)
    const { spent, reserved } = await balanceOf(heir)
    expect(reserved).toBe(0)
    expect(spent).toBe(spentBefore + heldByTheDead)
    expect(spent).toBeLessThanOrEqual(BUDGET.amount)
    const found = await costs(heir)
    expect(sum(found.values())).toBe(spent)
    const settled = confirmed(spenders)
    expect(settled.size).toBeGreaterThan(KILLS)
    for (const [id, cost] of settled) expect([id, found.get(id)]).toEqual([id, cost])
  })
})
