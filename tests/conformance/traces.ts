// That those who leave a line leave nothing behind, as properties: what happens to all others is
// what would have happened without them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { EpochMs } from '../../src/core/clock.ts'
import type { ResourceSnapshot } from '../../src/core/store.ts'
import { alikeHistory, follow, limitedHistory } from './history.ts'
import { Line, type StoreUnderTest } from './line.ts'

interface Ghost {
  /** The step that it comes before. */
  readonly before: number
  readonly flow: string
  readonly lane: 'critical' | 'high' | 'normal' | 'low'
  readonly input: number
  readonly parked: boolean
}

const ghosts: fc.Arbitrary<readonly Ghost[]> = fc.array(
  fc.record({
    before: fc.nat(60),
    flow: fc.constantFrom('a', 'b', 'c'),
    lane: fc.constantFrom('critical' as const, 'high' as const, 'normal' as const, 'low' as const),
    // Too much for any limit, so that few are let in.
    input: fc.integer({ min: 200, max: 900 }),
    parked: fc.boolean(),
  }),
  { maxLength: 60, size: 'max' },
)

/** How long each request's holder lives without another sign of life, by its turn; null: for ever. */
const lives = fc.array(fc.option(fc.integer({ min: 0, max: 4000 }), { freq: 2 }), {
  minLength: 60,
  maxLength: 60,
})

export function traces(underTest: StoreUnderTest): void {
  const RUNS = { numRuns: underTest.runs ?? 150 }

  describe('in every history', () => {
    it('cancelled tickets leave nothing behind', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(limitedHistory, alikeHistory),
          ghosts,
          async (history, ghosts) => {
            const haunted = await Line.open(underTest, history.settings)
            const quiet = await Line.open(underTest, history.settings)
            for (const [index, step] of history.steps.entries()) {
              const coming = ghosts.filter(({ before }) => before === index)
              // A ghost that is let in is another history.
              if (!(await haunt(haunted, coming, index))) break
              // So that this line too has been looked at now, though nothing comes of it.
              if (coming.length > 0) await quiet.renew('nobody', 1)
              await follow(haunted, step)
              await follow(quiet, step)
              await expectSame(haunted, quiet)
            }
            await haunted.store.close()
            await quiet.store.close()
          },
        ),
        RUNS,
      )
    })

    it('expired tickets end as if they had been cancelled, or had cost what they reserved', async () => {
      await fc.assert(
        fc.asyncProperty(limitedHistory, lives, async (history, lives) => {
          const silent = await Line.open(underTest, history.settings)
          const byHand = await Line.open(underTest, history.settings)
          const deaths: Death[] = []
          for (const [index, step] of history.steps.entries()) {
            const ttlMs = ttlOf(index, lives[index] ?? null)
            if (step.kind === 'enqueue') {
              const wish = { ...step, id: `e${index}` }
              await silent.enqueue({ ...wish, holder: ttlMs ? { id: `h${index}`, ttlMs } : null })
              await byHand.enqueue(wish)
              if (ttlMs) deaths.push({ id: wish.id, at: byHand.now + ttlMs })
            } else {
              const plain = step.kind === 'cancel' ? { ...step, comesBack: false } : step
              await follow(silent, plain)
              if (silent.now === byHand.now) await follow(byHand, plain)
              else await moveTo(byHand, silent.now, deaths)
            }
            await expectSame(silent, byHand)
          }
          await silent.store.close()
          await byHand.store.close()
        }),
        RUNS,
      )
    })
  })
}

interface Death {
  readonly id: string
  readonly at: EpochMs
}

/** No two alike, and never at an instant at which something else happens. */
function ttlOf(index: number, lifeMs: number | null): number | null {
  return lifeMs === null ? null : lifeMs + 0.123 + index / 100
}

/** Enqueues among those who wait, or aside, and cancels: nobody may notice. */
async function haunt(line: Line, ghosts: readonly Ghost[], step: number): Promise<boolean> {
  const ids: string[] = []
  for (const [index, ghost] of ghosts.entries()) {
    const id = `ghost${step}-${index}`
    // Where nobody waits, it would be let in.
    const parked = ghost.parked || line.waiting.length === 0
    const placement = await line.enqueue({ ...ghost, id, parked })
    if (placement.kind === 'admitted') return false
    if (placement.kind === 'waiting') ids.push(id)
  }
  // The last that came leaves first, so that none finds room that another has left.
  for (const id of ids.reverse()) expect(await line.cancel(id)).not.toBeNull()
  return true
}

/** Moves on, and does at each death on the way what the store would do. */
async function moveTo(line: Line, until: EpochMs, deaths: Death[]): Promise<void> {
  deaths.sort((a, b) => a.at - b.at)
  for (let next = deaths[0]; next && next.at <= until; next = deaths[0]) {
    deaths.shift()
    await line.at.advance(next.at)
    await line.cancel(next.id)
    await line.settle(next.id)
  }
  await line.at.advance(until)
}

async function expectSame(line: Line, other: Line): Promise<void> {
  expect(line.takes).toEqual(other.takes)
  const [snapshot, expected] = [await inUse(line), await inUse(other)]
  expect({ ...snapshot, limits: [] }).toEqual({ ...expected, limits: [] })
  // A level that is worked out in other steps may come out just below a whole number.
  for (const [index, { remaining }] of (snapshot?.limits ?? []).entries())
    expect(Math.abs(remaining - (expected?.limits[index]?.remaining ?? 0))).toBeLessThanOrEqual(1)
}

/** What is said of a resource that is in use: an idle one may be forgotten at any time. */
async function inUse(line: Line): Promise<ResourceSnapshot | null> {
  const snapshot = await line.snapshot()
  return snapshot && snapshot.inFlight + snapshot.queued > 0 ? snapshot : null
}
