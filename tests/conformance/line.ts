// One resource of a store, driven step by step. Owns: knowing who waits, who holds, what was taken
// and when, from the store's answers and pushes alone. Must not know: any store.
import { expect } from 'vitest'
import type { Bounce, GateSettings, Placement } from '../../src/core/admission.ts'
import type { EpochMs } from '../../src/core/clock.ts'
import { type CostVector, costOf, NOTHING } from '../../src/core/cost.ts'
import { DEFAULT_LANE, type Lane } from '../../src/core/lane.ts'
import type { ResourceSnapshot, SettingsOf, Store } from '../../src/core/store.ts'
import type { Place } from '../../src/core/ticket.ts'

/** A fresh store, and time that moves only when told to. */
export interface StoreAtHand {
  readonly store: Store
  readonly clock: { now(): EpochMs }
  /** Moves to an instant and does all that is due on the way, pushes delivered. */
  advance(to: EpochMs): Promise<void>
  /** Waits until all pushes so far have been delivered. */
  delivered(): Promise<void>
}

export interface StoreUnderTest {
  open(settingsOf: SettingsOf, startAt: EpochMs): Promise<StoreAtHand>
  /** What this store is not held to. */
  readonly exempt: readonly ('forgets idle resources' | 'merge' | 'position')[]
}

export const RESOURCE = 'resource'
/** Near today, where a double resolves a quarter of a microsecond, and off the whole millisecond. */
export const START_AT: EpochMs = 1.8e12 + 0.37

/** What one admission has taken, as far as known by now. */
export interface Take {
  readonly id: string
  readonly at: EpochMs
  charge: CostVector
  isHeld: boolean
}

export interface Wish {
  readonly id?: string
  readonly resource?: string
  readonly flow?: string
  readonly lane?: Lane
  readonly weight?: number
  readonly input?: number
  readonly output?: number
  readonly deadlineAt?: EpochMs
  readonly place?: Place | null
  readonly parked?: boolean
}

export const settingsOf = (given: Partial<GateSettings>): GateSettings => ({
  limits: [],
  learns: false,
  agingMs: Number.POSITIVE_INFINITY,
  maxQueued: 10_000,
  floors: { soft: 0, hard: 0 },
  ...given,
})

interface Caller {
  readonly id: string
  readonly flow: string
  readonly resource: string
  estimate: CostVector
}

export class Line {
  readonly at: StoreAtHand
  /** In order of enqueueing, those put back last. */
  readonly waiting: Caller[] = []
  readonly parked: Caller[] = []
  /** In order of admission. */
  readonly held: Caller[] = []
  readonly takes: Take[] = []
  /** Ids in order of admission, whether answered or pushed. */
  readonly admitted: string[] = []
  /** Ids in order of their pushes. */
  readonly pushed: string[] = []
  /** Is told after each admission. */
  onAdmission: () => void = () => {}
  #ids = 0

  constructor(at: StoreAtHand) {
    this.at = at
    at.store.onGrant(({ id, resource }) => {
      const caller = this.waiting.find((waiting) => waiting.id === id)
      expect(caller, `${id} was pushed, but does not wait`).toBeDefined()
      if (!caller) return
      expect(resource).toBe(caller.resource)
      this.pushed.push(id)
      this.#admit(caller)
    })
  }

  static async open(underTest: StoreUnderTest, settings: Partial<GateSettings>): Promise<Line> {
    return new Line(await underTest.open(() => settingsOf(settings), START_AT))
  }

  get now(): EpochMs {
    return this.at.clock.now()
  }

  get store(): Store {
    return this.at.store
  }

  async enqueue(wish: Wish = {}): Promise<Placement> {
    const { flow = 'flow', resource = RESOURCE, input = 10, output = 0, parked = false } = wish
    const id = wish.id ?? `t${this.#ids++}`
    const estimate = costOf({ input_tokens: input, output_tokens: output })
    const placement = await this.store.enqueue({
      id,
      resource,
      flow,
      lane: wish.lane ?? DEFAULT_LANE,
      weight: wish.weight ?? 1,
      estimate,
      deadlineAt: wish.deadlineAt ?? Number.POSITIVE_INFINITY,
      place: wish.place ?? null,
      parked,
    })
    const caller = { id, flow, resource, estimate }
    if (placement.kind === 'waiting') (parked ? this.parked : this.waiting).push(caller)
    if (placement.kind === 'admitted') this.#admit(caller)
    await this.at.delivered()
    return placement
  }

  /** The id that waits, or was admitted, last. */
  async add(wish: Wish = {}): Promise<string> {
    const id = wish.id ?? `t${this.#ids++}`
    await this.enqueue({ ...wish, id })
    return id
  }

  async cancel(id: string): Promise<Place | null> {
    const place = await this.store.cancel(this.#resourceOf(id), id)
    if (place) {
      take(this.waiting, id)
      take(this.parked, id)
    }
    await this.at.delivered()
    return place
  }

  async unpark(id: string, estimate?: CostVector): Promise<boolean> {
    const caller = take(this.parked, id)
    if (caller) this.waiting.push({ ...caller, estimate: estimate ?? caller.estimate })
    const moved = await this.store.unpark(
      this.#resourceOf(id),
      id,
      estimate ?? caller?.estimate ?? NOTHING,
    )
    await this.at.delivered()
    return moved
  }

  async settle(id: string, actual?: CostVector, exact = true): Promise<boolean> {
    const resource = this.#resourceOf(id)
    const caller = take(this.held, id)
    const cost = actual ?? caller?.estimate ?? NOTHING
    if (caller) this.#end(id, exact ? cost : atLeast(cost, caller.estimate))
    const ended = await this.store.settle(resource, id, cost, exact)
    await this.at.delivered()
    return ended
  }

  async release(id: string): Promise<boolean> {
    const resource = this.#resourceOf(id)
    if (take(this.held, id)) this.#end(id, NOTHING)
    const ended = await this.store.release(resource, id)
    await this.at.delivered()
    return ended
  }

  async revise(id: string, estimate: CostVector, produced: number): Promise<boolean> {
    const lease = this.#takeOf(id)
    if (lease) lease.charge = estimate
    const caller = this.held.find((held) => held.id === id)
    if (caller) caller.estimate = estimate
    const revised = await this.store.revise(this.#resourceOf(id), id, estimate, produced)
    await this.at.delivered()
    return revised
  }

  async bounce(id: string, bounce: Bounce): Promise<boolean> {
    const resource = this.#resourceOf(id)
    const caller = take(this.held, id)
    if (caller) {
      this.#end(id, NOTHING)
      if (bounce.kind === 'repriced') caller.estimate = bounce.estimate
      this.waiting.push(caller)
    }
    const bounced = await this.store.bounce(resource, id, bounce)
    await this.at.delivered()
    return bounced
  }

  async answered(): Promise<void> {
    await this.store.answered(RESOURCE, null)
    await this.at.delivered()
  }

  async pause(ms: number): Promise<void> {
    await this.store.pause(RESOURCE, this.now + ms)
    await this.at.delivered()
  }

  async wait(ms: number): Promise<void> {
    await this.at.advance(this.now + ms)
  }

  /** Moves to the instant at which the store says that the next is admitted. */
  async waitForNext(): Promise<boolean> {
    const nextAt = (await this.snapshot())?.nextAt ?? null
    if (nextAt !== null) await this.at.advance(nextAt)
    return nextAt !== null
  }

  async snapshot(name = RESOURCE): Promise<ResourceSnapshot | undefined> {
    return (await this.store.snapshot()).find((resource) => resource.name === name)
  }

  /** Settles all that hold as they were estimated, and lets time pass, until nobody waits. */
  async drain(mostSteps = 10_000): Promise<void> {
    for (let step = 0; step < mostSteps; step++) {
      for (const { id } of [...this.held]) await this.settle(id)
      if (this.waiting.length === 0 && this.held.length === 0) return
      if (this.held.length === 0) expect(await this.waitForNext()).toBe(true)
    }
    expect(this.waiting.map(({ id }) => id)).toEqual([])
  }

  #admit(caller: Caller): void {
    take(this.waiting, caller.id)
    this.held.push(caller)
    this.admitted.push(caller.id)
    this.takes.push({ id: caller.id, at: this.now, charge: caller.estimate, isHeld: true })
    this.onAdmission()
  }

  #end(id: string, charge: CostVector): void {
    const lease = this.#takeOf(id)
    if (!lease) return
    lease.charge = charge
    lease.isHeld = false
  }

  #takeOf(id: string): Take | undefined {
    return this.takes.find((lease) => lease.id === id && lease.isHeld)
  }

  #resourceOf(id: string): string {
    const all = [...this.waiting, ...this.parked, ...this.held]
    return all.find((caller) => caller.id === id)?.resource ?? RESOURCE
  }
}

function take(callers: Caller[], id: string): Caller | undefined {
  const index = callers.findIndex((caller) => caller.id === id)
  return index < 0 ? undefined : callers.splice(index, 1)[0]
}

function atLeast(cost: CostVector, least: CostVector): CostVector {
  const input = Math.max(cost.input_tokens, least.input_tokens)
  const output = Math.max(cost.output_tokens, least.output_tokens)
  return costOf({ requests: least.requests, input_tokens: input, output_tokens: output })
}
