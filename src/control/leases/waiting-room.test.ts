import { describe, expect, it } from 'vitest'
import type { Prediction } from '../../core/admission.ts'
import { VirtualClock } from '../../core/clock.ts'
import { StoreUnreachable } from '../../core/store.ts'
import { WaitingRoom, type Watcher } from './waiting-room.ts'

const PREDICTION: Prediction = { position: 3, expectedAt: 5000, boundBy: null }

/** A client that writes down when it is told something. */
class RecordingWatcher implements Watcher {
  dueAt = 0
  heapIndex = -1
  lookAt = 0
  silentSince = 0
  readonly places: number[] = []
  readonly signs: number[] = []
  looks = 0
  isUnreachable = false
  readonly #clock: VirtualClock

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  async position(): Promise<Prediction> {
    this.looks++
    if (this.isUnreachable) throw new StoreUnreachable('gone')
    return PREDICTION
  }

  showPlace(): void {
    this.places.push(this.#clock.now())
  }

  showLife(): void {
    this.signs.push(this.#clock.now())
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const until = clock.now() + ms
  while (clock.nextAt() <= until) {
    clock.step()
    await settled()
  }
  clock.advanceTo(until)
}

function open(count: number) {
  const clock = new VirtualClock()
  const failures: unknown[] = []
  const room = new WaitingRoom(clock, (error) => failures.push(error))
  const watchers = Array.from({ length: count }, () => new RecordingWatcher(clock))
  return { clock, room, watchers, failures }
}

describe('a client that waits', () => {
  it('is told where it stands every three seconds, and is not silent', async () => {
    const { clock, room, watchers } = open(1)
    const [watcher] = watchers
    if (watcher) room.enter(watcher, true)
    await pass(clock, 10_000)
    expect(watcher).toMatchObject({ places: [3000, 6000, 9000], signs: [] })
  })

  it('is told at once where nobody has looked', async () => {
    const { clock, room, watchers } = open(1)
    const [watcher] = watchers
    if (watcher) room.enter(watcher, false)
    await pass(clock, 100)
    expect(watcher?.places).toEqual([0])
  })

  it('is shown life every ten seconds while its store cannot be reached', async () => {
    const { clock, room, watchers, failures } = open(1)
    const [watcher] = watchers
    if (!watcher) return
    watcher.isUnreachable = true
    room.enter(watcher, true)
    await pass(clock, 25_000)
    expect(watcher).toMatchObject({ places: [], signs: [10_000, 20_000] })
    expect(failures).toEqual([])
  })

  it('is told nothing after it has left', async () => {
    const { clock, room, watchers } = open(1)
    const [watcher] = watchers
    if (!watcher) return
    room.enter(watcher, true)
    await pass(clock, 4000)
    room.leave(watcher)
    await pass(clock, 60_000)
    expect(watcher.places).toEqual([3000])
    expect(room.size).toBe(0)
  })
})

it('thousands who wait share two hundred looks a second, and none is silent for long', async () => {
  const { clock, room, watchers } = open(4000)
  for (const watcher of watchers) room.enter(watcher, true)
  const looksBefore = () => watchers.reduce((sum, { looks }) => sum + looks, 0)
  await pass(clock, 30_000)
  const before = looksBefore()
  await pass(clock, 10_000)
  const perSecond = (looksBefore() - before) / 10
  expect(perSecond).toBeGreaterThan(190)
  expect(perSecond).toBeLessThanOrEqual(200)
  for (const { places, signs } of watchers) {
    const words = [0, ...places, ...signs].sort((a, b) => a - b)
    const longest = Math.max(...words.slice(1).map((at, index) => at - (words[index] ?? 0)))
    expect(longest).toBeLessThanOrEqual(10_000)
    expect(places.length).toBeGreaterThan(0)
  }
})
