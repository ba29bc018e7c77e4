// What must hold of every history, whatever the store: the invariants of the gate, as properties of
// random histories. (That those who leave leave nothing behind: traces.ts.)
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { amountOf } from '../../src/core/cost.ts'
import { LANES, type Lane } from '../../src/core/lane.ts'
import type { Limit } from '../../src/core/limit.ts'
import {
  anyHistory,
  decisionsOf,
  follow,
  type History,
  limitedHistory,
  limitStack,
  mortalHistory,
} from './history.ts'
import { Line, type StoreUnderTest, type Wish } from './line.ts'
import { capacityOf, excessOf, lateBy, readyAtOf, remainingOf } from './reference.ts'

const MINUTE_MS = 60_000

const limitsOf = (history: History): readonly Limit[] => history.settings.limits ?? []

/** Opens a line, does something with it, and closes it. */
async function withLine(
  underTest: StoreUnderTest,
  settings: History['settings'],
  use: (line: Line) => Promise<void>,
): Promise<void> {
  const line = await Line.open(underTest, settings)
  await use(line)
  await line.store.close()
}

async function expectConserved(line: Line, limits: readonly Limit[]): Promise<void> {
  const snapshot = await line.snapshot()
  for (const [index, limit] of limits.entries()) {
    const { least, most } = remainingOf(limit, line.takes, line.now)
    const remaining = snapshot ? snapshot.limits[index]?.remaining : capacityOf(limit)
    expect(remaining).toBeGreaterThanOrEqual(Math.floor(least - 1e-3))
    expect(remaining).toBeLessThanOrEqual(Math.floor(most + 1e-3))
  }
  expect(snapshot?.inFlight ?? 0).toBe(line.held.length)
  expect(snapshot?.queued ?? 0).toBe(line.waiting.length + line.parked.length)
}

async function expectBoundByWhatItSays(line: Line): Promise<void> {
  const snapshot = await line.snapshot()
  if (!snapshot || line.waiting.length === 0) {
    expect(snapshot?.nextAt ?? null).toBeNull()
    expect(snapshot?.boundBy ?? null).toBeNull()
    return
  }
  const { boundBy, nextAt } = snapshot
  if (nextAt === null) {
    const binding = boundBy?.kind === 'limit' ? boundBy.limit.algorithm : boundBy?.kind
    expect(['concurrency', 'overload']).toContain(binding)
  } else {
    expect(nextAt).toBeGreaterThan(line.now)
    expect(boundBy).not.toBeNull()
  }
}

export function invariants(underTest: StoreUnderTest): void {
  const RUNS = { numRuns: underTest.runs ?? 150 }

  describe('in every history', () => {
    it('no window of any limit admits more than it allows', async () => {
      await fc.assert(
        fc.asyncProperty(mortalHistory, (history) =>
          withLine(underTest, history.settings, async (line) => {
            line.onAdmission = () => {
              for (const limit of limitsOf(history))
                expect(excessOf(limit, line.takes, line.now)).toBeLessThanOrEqual(0)
            }
            for (const step of history.steps) await follow(line, step)
          }),
        ),
        RUNS,
      )
    })

    it('what was taken is settled, given back, expired or still held', async () => {
      await fc.assert(
        fc.asyncProperty(mortalHistory, (history) =>
          withLine(underTest, history.settings, async (line) => {
            for (const step of history.steps) {
              await follow(line, step)
              await expectConserved(line, limitsOf(history))
            }
          }),
        ),
        RUNS,
      )
    })

    it('who waits is held back by what the snapshot names, and not for longer than it says', async () => {
      await fc.assert(
        fc.asyncProperty(limitedHistory, (history) => {
          const settings = { ...history.settings, agingMs: Number.POSITIVE_INFINITY }
          return withLine(underTest, settings, async (line) => {
            for (const step of history.steps) {
              await follow(line, step)
              await expectBoundByWhatItSays(line)
              if (step.kind !== 'waitForNext') continue
              const before = line.admitted.length
              if (await line.waitForNext()) expect(line.admitted.length).toBeGreaterThan(before)
            }
          })
        }),
        RUNS,
      )
    })

    it('nobody waits while the limits have room', async () => {
      await fc.assert(
        fc.asyncProperty(limitedHistory, (history) => {
          const steps = history.steps.filter((step) => step.kind !== 'pause')
          return withLine(underTest, history.settings, async (line) => {
            for (const step of steps) {
              // All take the same, so that whoever is the head needs the same room.
              const same = step.kind === 'enqueue' ? { ...step, input: 30, output: 10 } : step
              await follow(line, same.kind === 'revise' ? { ...same, part: 1 } : same)
              await expectNoRoom(line, limitsOf(history))
            }
          })
        }),
        RUNS,
      )
    })

    it('every ticket is admitted in bounded time', async () => {
      await fc.assert(
        fc.asyncProperty(limitStack, fc.array(wish, { maxLength: 40 }), (limits, wishes) =>
          withLine(underTest, { limits, agingMs: 1000 }, async (line) => {
            for (const wanted of wishes) {
              await line.enqueue(wanted)
              await line.wait(7)
            }
            const startedAt = line.now
            const most = Math.max(...limits.map((limit) => worstMs(limit, line)))
            await line.drain()
            expect(line.admitted.length).toBe(wishes.length)
            expect(line.now - startedAt).toBeLessThanOrEqual(most)
          }),
        ),
        RUNS,
      )
    })

    it('an oversized ticket is admitted when a limit is wholly free, never before', async () => {
      await fc.assert(
        fc.asyncProperty(limitedHistory, (history) =>
          withLine(underTest, { ...history.settings, agingMs: 1000 }, async (line) => {
            for (const step of history.steps) await follow(line, step)
            const others = line.takes.length
            const id = await line.add({ lane: 'critical', flow: 'huge', input: 1000 })
            for (let steps = 0; !line.admitted.includes(id) && steps < 1000; steps++) {
              for (const held of [...line.held]) await line.settle(held.id)
              if (!line.admitted.includes(id)) await line.waitForNext()
            }
            const huge = line.takes.findIndex((lease) => lease.id === id)
            expect(huge).toBeGreaterThanOrEqual(others)
            const before = line.takes.slice(0, huge)
            for (const limit of limitsOf(history)) {
              if (limit.dimension !== 'input_tokens' && limit.dimension !== 'tokens') continue
              const { most } = remainingOf(limit, before, line.takes[huge]?.at ?? 0)
              expect(most).toBeGreaterThanOrEqual(capacityOf(limit) - 1e-3)
            }
          }),
        ),
        RUNS,
      )
    })

    it('backlogged flows never drift apart by more than their two largest requests', async () => {
      const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 60, maxLength: 60 })
      const weight = fc.constantFrom(0.5, 1, 2)
      await fc.assert(
        fc.asyncProperty(sizes, sizes, weight, weight, async (sizesA, sizesB, weightA, weightB) => {
          const settings = { limits: [perSecond(100)] }
          await withLine(underTest, settings, async (line) => {
            await line.enqueue({ flow: 'full', input: 100 })
            const flows = {
              a: { sizes: sizesA, weight: weightA },
              b: { sizes: sizesB, weight: weightB },
            }
            for (const [index] of sizesA.entries())
              for (const [flow, { sizes, weight }] of Object.entries(flows))
                await line.enqueue({
                  id: `${flow}${index}`,
                  flow,
                  weight,
                  input: sizes[index] ?? 0,
                })
            await line.drain()
            expect(driftOf(line.admitted.slice(1), flows)).toBeLessThanOrEqual(
              Math.max(...sizesA) / weightA + Math.max(...sizesB) / weightB + 1e-6,
            )
          })
        }),
        { numRuns: Math.min(underTest.runs ?? 20, 20) },
      )
    })

    it('the same history gives the same decisions', async () => {
      await fc.assert(
        fc.asyncProperty(anyHistory, async (history) => {
          const decisions = await decisionsOf(underTest, history)
          expect(await decisionsOf(underTest, history)).toEqual(decisions)
        }),
        RUNS,
      )
    })

    it('every admission is told once, and everyone is admitted or gone in the end', async () => {
      await fc.assert(
        fc.asyncProperty(anyHistory, (history) =>
          withLine(underTest, history.settings, async (line) => {
            for (const step of history.steps) await follow(line, step)
            for (const { id } of [...line.parked]) await line.unpark(id)
            await line.drain()
            const snapshot = await line.snapshot()
            expect([snapshot?.inFlight ?? 0, snapshot?.queued ?? 0]).toEqual([0, 0])
            expect(snapshot?.nextAt ?? null).toBeNull()
          }),
        ),
        RUNS,
      )
    })
  })
}

const perSecond = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount,
  windowMs: 1000,
  source: 'configured',
})

/** Requests of all sizes, some larger than any limit. */
const wish: fc.Arbitrary<Wish> = fc.record({
  flow: fc.constantFrom('a', 'b', 'c'),
  lane: fc.constantFrom<Lane>(...LANES),
  input: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 600 })),
  output: fc.integer({ min: 0, max: 20 }),
})

/** By how much one flow was ahead of the other, in size by weight, at the worst. */
function driftOf(
  ids: readonly string[],
  flows: Record<string, { readonly sizes: readonly number[]; readonly weight: number }>,
): number {
  const served: Record<string, number> = { a: 0, b: 0 }
  const left: Record<string, number> = { a: flows.a?.sizes.length ?? 0 }
  left.b = flows.b?.sizes.length ?? 0
  let worst = 0
  for (const id of ids) {
    const flow = id.charAt(0)
    const { sizes, weight } = flows[flow] ?? { sizes: [], weight: 1 }
    served[flow] = (served[flow] ?? 0) + (sizes[Number(id.slice(1))] ?? 0) / weight
    left[flow] = (left[flow] ?? 0) - 1
    worst = Math.max(worst, Math.abs((served.a ?? 0) - (served.b ?? 0)))
    if (left[flow] === 0) break
  }
  return worst
}

/** Whoever waits, the reference too says that the same request does not fit now. */
async function expectNoRoom(line: Line, limits: readonly Limit[]): Promise<void> {
  const snapshot = await line.snapshot()
  if (!snapshot || line.waiting.length === 0) return
  const estimate = line.waiting[0]?.estimate
  if (!estimate) return
  const readyAts = limits.map((limit) =>
    readyAtOf(limit, amountOf(estimate, limit.dimension), line.takes, line.now),
  )
  if (readyAts.includes(null)) {
    expect(snapshot.nextAt).toBeNull()
    return
  }
  const readyAt = Math.max(...readyAts.map((at) => at ?? 0))
  const late = Math.max(...limits.map(lateBy))
  expect(snapshot.nextAt).toBeGreaterThanOrEqual(readyAt - 1e-2)
  expect(snapshot.nextAt).toBeLessThanOrEqual(readyAt + late + 1e-2)
}

/** How long a limit needs at most to let all of a line through, one window lost for each at the worst. */
function worstMs(limit: Limit, line: Line): number {
  if (limit.algorithm === 'concurrency') return 0
  const callers = [...line.waiting, ...line.held]
  const amounts = callers.map(({ estimate }) => amountOf(estimate, limit.dimension))
  const windows = amounts.reduce((sum, amount) => sum + 2 + amount / limit.amount, 2)
  return Math.min(windows * limit.windowMs, MINUTE_MS * 60)
}
