// One resource of a store, driven step by step. Owns: asking the store, and telling its callers what
// it answers. Must not know: any store, what must hold of the answers.
import { expect } from 'vitest'
import type { Bounce, GateSettings, LimitRefusal, Placement } from '../../src/core/admission.ts'
import type { EpochMs } from '../../src/core/clock.ts'
import { type CostVector, costOf, NOTHING } from '../../src/core/cost.ts'
import { DEFAULT_LANE, type Lane } from '../../src/core/lane.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { Observation } from '../../src/core/observation.ts'
import type { Grant, ResourceSnapshot, SettingsOf, Store } from '../../src/core/store.ts'
import type { Holder, OwnTicket, Place, TicketRequest, TicketView } from '../../src/core/ticket.ts'
import { type Caller, Callers, callerOf, type Take } from './callers.ts'

/** A fresh store, and time that moves only when told to. */
export interface StoreAtHand {
  readonly store: Store
  readonly clock: { now(): EpochMs }
  /** Moves to an instant and does all that is due on the way, pushes delivered. */
  advance(to: EpochMs): Promise<void>
  /** Waits until all pushes so far have been delivered. */
  delivered(): Promise<void>
  /** Names what the store remembers of a resource: leases that were counted in it are not counted again. */
  lifeOf(resource: string): string | null
}

export interface StoreUnderTest {
  open(settingsOf: SettingsOf, startAt: EpochMs): Promise<StoreAtHand>
  /** What this store is not held to. */
  readonly exempt: readonly ('forgets idle resources' | 'merge' | 'position')[]
  /** How many random histories each property is checked on; 150 unless told. */
  readonly runs?: number
}

export const RESOURCE = 'resource'
/** Near today, where a double resolves a quarter of a microsecond, and off the whole millisecond. */
export const START_AT: EpochMs = 1.8e12 + 0.37

/** Tests end sooner: a ticket that lasts longer lasts as long as its process. */
export const PROCESSES_LIVE_BEYOND: EpochMs = 1e13

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
  readonly holder?: Holder | null
}

export const settingsOf = (given: Partial<GateSettings>): GateSettings => ({
  limits: [],
  learns: false,
  agingMs: Number.POSITIVE_INFINITY,
  maxQueued: 10_000,
  floors: { soft: 0, hard: 0 },
  ...given,
})

export class Line {
  readonly at: StoreAtHand
  /** Ids in order of admission, whether answered or pushed. */
  readonly admitted: string[] = []
  /** Ids in order of their pushes. */
  readonly pushed: string[] = []
  /** Is told after each admission. */
  onAdmission: () => void = () => {}
  readonly #callers = new Callers()
  /** What was wrong with pushes. They come while a store works, which is not to be disturbed. */
  readonly #failures: unknown[] = []
  #ids = 0
  #present = { settings: settingsOf({}) }

  constructor(at: StoreAtHand) {
    this.at = at
    at.store.onGrant((grant) => {
      try {
        this.#hearOf(grant)
      } catch (error) {
        this.#failures.push(error)
      }
    })
  }

  static async open(underTest: StoreUnderTest, settings: Partial<GateSettings>): Promise<Line> {
    const present = { settings: settingsOf(settings) }
    const line = new Line(await underTest.open(() => present.settings, START_AT))
    line.#present = present
    return line
  }

  /** Puts other limits in force. */
  async reconfigure(limits: readonly Limit[]): Promise<void> {
    this.#present.settings = { ...this.#present.settings, limits }
    this.store.reconfigure()
    await this.#delivered()
  }

  get limits(): readonly Limit[] {
    return this.#present.settings.limits
  }

  get now(): EpochMs {
    return this.at.clock.now()
  }

  get store(): Store {
    return this.at.store
  }

  get waiting(): readonly Caller[] {
    return this.#callers.waiting
  }

  get parked(): readonly Caller[] {
    return this.#callers.parked
  }

  get held(): readonly Caller[] {
    return this.#callers.held
  }

  /** Whose holders were silent for too long. */
  get gone(): readonly Caller[] {
    return this.#callers.gone
  }

  get takes(): readonly Take[] {
    return this.#callers.takes
  }

  async enqueue(wish: Wish = {}): Promise<Placement> {
    const request = this.request(wish)
    this.#callers.expire(this.now)
    const known = this.#callers.find(request.id)
    const placement = await this.store.enqueue(request)
    const caller = known ?? callerOf(request)
    if (placement.kind !== 'refused') this.#callers.heardOf(request.holder, this.now)
    if (placement.kind === 'waiting' && !known) this.#callers.stand(caller)
    if (placement.kind === 'admitted' && !this.#callers.isHeld(caller.id)) this.#admit(caller)
    await this.#delivered()
    return placement
  }

  request(wish: Wish = {}): TicketRequest {
    return {
      id: wish.id ?? `t${this.#ids++}`,
      resource: wish.resource ?? RESOURCE,
      flow: wish.flow ?? 'flow',
      lane: wish.lane ?? DEFAULT_LANE,
      weight: wish.weight ?? 1,
      estimate: costOf({ input_tokens: wish.input ?? 10, output_tokens: wish.output ?? 0 }),
      deadlineAt: wish.deadlineAt ?? Number.POSITIVE_INFINITY,
      place: wish.place ?? null,
      parked: wish.parked ?? false,
      holder: wish.holder ?? null,
    }
  }

  /** The id that waits, or was admitted, last. */
  async add(wish: Wish = {}): Promise<string> {
    const id = wish.id ?? `t${this.#ids++}`
    await this.enqueue({ ...wish, id })
    return id
  }

  async cancel(id: string): Promise<Place | null> {
    this.#callers.expire(this.now)
    const place = await this.store.cancel(this.#resourceOf(id), id)
    if (place) {
      this.#callers.take('waiting', id)
      this.#callers.take('parked', id)
    }
    await this.#delivered()
    return place
  }

  async leave(id: string): Promise<boolean> {
    this.#callers.expire(this.now)
    const resource = this.#resourceOf(id)
    if (this.#callers.take('held', id)) this.#callers.end(id, NOTHING)
    this.#callers.take('waiting', id)
    this.#callers.take('parked', id)
    const hasLeft = await this.store.leave(resource, id, 'own')
    await this.#delivered()
    return hasLeft
  }

  async unpark(id: string, estimate?: CostVector): Promise<boolean> {
    this.#callers.expire(this.now)
    const caller = this.#callers.take('parked', id)
    if (caller) {
      caller.estimate = estimate ?? caller.estimate
      caller.isParked = false
      this.#callers.stand(caller)
    }
    const moved = await this.store.unpark(
      this.#resourceOf(id),
      id,
      estimate ?? caller?.estimate ?? NOTHING,
    )
    await this.#delivered()
    return moved
  }

  async raise(id: string): Promise<boolean> {
    const raised = await this.store.raise(this.#resourceOf(id), id)
    await this.#delivered()
    return raised
  }

  async settle(id: string, actual?: CostVector, exact = true): Promise<boolean> {
    this.#callers.expire(this.now)
    const resource = this.#resourceOf(id)
    const caller = this.#callers.take('held', id)
    const cost = actual ?? caller?.estimate ?? NOTHING
    if (caller) this.#callers.end(id, exact ? cost : atLeast(cost, caller.estimate))
    const ended = await this.store.settle(resource, id, cost, exact)
    await this.#delivered()
    return ended
  }

  async release(id: string): Promise<boolean> {
    this.#callers.expire(this.now)
    const resource = this.#resourceOf(id)
    if (this.#callers.take('held', id)) this.#callers.end(id, NOTHING)
    const ended = await this.store.release(resource, id)
    await this.#delivered()
    return ended
  }

  async revise(id: string, estimate: CostVector, produced: number): Promise<boolean> {
    this.#callers.expire(this.now)
    const lease = this.#callers.takeOf(id)
    if (lease) lease.charge = estimate
    const caller = this.held.find((held) => held.id === id)
    if (caller) caller.estimate = estimate
    const revised = await this.store.revise(this.#resourceOf(id), id, estimate, produced)
    await this.#delivered()
    return revised
  }

  async bounce(id: string, bounce: Bounce): Promise<boolean> {
    this.#callers.expire(this.now)
    const resource = this.#resourceOf(id)
    const caller = this.#callers.take('held', id)
    if (caller) {
      this.#callers.end(id, NOTHING)
      if (bounce.kind === 'repriced') caller.estimate = bounce.estimate
      this.#callers.stand(caller)
    }
    const bounced = await this.store.bounce(resource, id, bounce)
    await this.#delivered()
    return bounced
  }

  async renew(holderId: string, ttlMs: number): Promise<boolean> {
    this.#callers.expire(this.now)
    const isKnown = this.#callers.renew(holderId, this.now + ttlMs)
    const renewed = await this.store.renew(RESOURCE, holderId, ttlMs)
    expect(renewed).toBe(isKnown)
    await this.#delivered()
    return renewed
  }

  /** A ticket as its owner knows it, whether it is here or gone. */
  own(id: string, isCounted = true): OwnTicket {
    const caller = this.#callers.find(id) ?? this.gone.find((one) => one.id === id)
    if (!caller) throw new Error(`there never was a ticket ${id}`)
    const { resource, estimate, isParked, grantedAt } = caller
    const countedIn = isCounted ? this.at.lifeOf(resource) : 'another life'
    const request = { ...caller.request, resource, estimate, parked: isParked }
    return { request, grantedAt, countedIn }
  }

  async rejoin(
    tickets: readonly OwnTicket[],
    spent: CostVector = NOTHING,
  ): Promise<readonly string[]> {
    this.#callers.expire(this.now)
    for (const own of tickets) this.#expectBack(own)
    const held = await this.store.rejoin(RESOURCE, tickets, spent)
    for (const id of held) {
      const caller = this.waiting.find((waiting) => waiting.id === id)
      if (caller) this.#admit(caller)
    }
    const ids = tickets.map(({ request }) => request.id)
    expect(new Set(held)).toEqual(new Set(ids.filter((id) => this.#callers.isHeld(id))))
    await this.#delivered()
    return held
  }

  async answered(firstAnswerMs: number | null = null): Promise<void> {
    await this.store.answered(RESOURCE, firstAnswerMs)
    await this.#delivered()
  }

  async observe(observation: Observation): Promise<void> {
    await this.store.observe(RESOURCE, observation)
    await this.#delivered()
  }

  async refused(refusal: LimitRefusal): Promise<void> {
    await this.store.refused(RESOURCE, refusal)
    await this.#delivered()
  }

  async pause(ms: number): Promise<void> {
    await this.store.pause(RESOURCE, this.now + ms)
    await this.#delivered()
  }

  async wait(ms: number): Promise<void> {
    await this.#advance(this.now + ms)
  }

  /** Moves to the instant at which the store says that the next is admitted. */
  async waitForNext(): Promise<boolean> {
    const nextAt = (await this.snapshot())?.nextAt ?? null
    if (nextAt !== null) await this.#advance(nextAt)
    return nextAt !== null
  }

  async snapshot(name = RESOURCE): Promise<ResourceSnapshot | undefined> {
    return (await this.store.snapshot()).find((resource) => resource.name === name)
  }

  tickets(most = Number.POSITIVE_INFINITY): Promise<readonly TicketView[]> {
    return this.store.tickets(RESOURCE, most)
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

  #hearOf({ id, resource }: Grant): void {
    this.#callers.expire(this.now)
    const caller = this.waiting.find((waiting) => waiting.id === id)
    if (!caller) throw new Error(`${id} was pushed, but does not wait`)
    expect(resource).toBe(caller.resource)
    this.pushed.push(id)
    this.#admit(caller)
  }

  async #advance(to: EpochMs): Promise<void> {
    await this.at.advance(to)
    this.#callers.expire(this.now)
    await this.#delivered()
  }

  async #delivered(): Promise<void> {
    await this.at.delivered()
    const [failure] = this.#failures
    if (failure) throw failure
  }

  #admit(caller: Caller): void {
    this.#callers.admit(caller, this.now)
    this.admitted.push(caller.id)
    this.onAdmission()
  }

  /** What a ticket that is brought back becomes, but for what the pump then does. */
  #expectBack({ request, grantedAt, countedIn }: OwnTicket): void {
    const known = this.#callers.find(request.id)
    this.#callers.heardOf(request.holder, this.now)
    if (known && (grantedAt === null || this.#callers.isHeld(known.id))) return
    const caller = known ?? this.#callers.takeGone(request.id) ?? callerOf(request)
    const life = this.at.lifeOf(request.resource)
    if (grantedAt === null) this.#callers.stand(caller)
    else if (!known && life !== null && countedIn === life) this.#callers.readmit(caller, grantedAt)
    else this.#callers.admit(caller, this.now)
  }

  #resourceOf(id: string): string {
    return this.#callers.find(id)?.resource ?? RESOURCE
  }
}

function atLeast(cost: CostVector, least: CostVector): CostVector {
  const input = Math.max(cost.input_tokens, least.input_tokens)
  const output = Math.max(cost.output_tokens, least.output_tokens)
  return costOf({ requests: least.requests, input_tokens: input, output_tokens: output })
}
