// Where each operation goes: to the shared gates, or to local ones while those are out of reach.
// Owns: the way there and back. Must not know: what an operation does.
import type { Clock, EpochMs } from '../../core/clock.ts'
import { type SettingsOf, type Store, StoreUnreachable } from '../../core/store.ts'
import type { SharedGates } from '../shared-gates.ts'
import { alone } from './alone.ts'
import type { Book } from './book.ts'
import type { Grants } from './grants.ts'
import type { FailurePolicy } from './local-share.ts'
import type { Operation } from './operation.ts'
import { Outage } from './outage.ts'
import type { Taken } from './pending.ts'
import { Probing } from './probing.ts'
import { NAMELESS_LIFE, rejoin } from './rejoin.ts'
import type { SharedStoreEvents } from './shared-store-events.ts'
import type { Entry, Side } from './side.ts'

export interface PassageOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly shared: SharedGates
  readonly settingsOf: SettingsOf
  readonly localStore: (settingsOf: SettingsOf) => Store
  readonly onFailure: FailurePolicy
  readonly holdMs: number
  readonly events: SharedStoreEvents
  readonly book: Book
  readonly grants: Grants
}

export class Passage {
  readonly #options: PassageOptions
  readonly #probing: Probing
  #outage: Outage | null = null
  /** As far as is known. Resources that are new here go by it; others go by their own failures. */
  #isReachable = true
  /** How often the connection was lost. */
  #losses = 0
  #isClosed = false

  constructor(options: PassageOptions) {
    this.#options = options
    const { clock, random, shared } = options
    this.#probing = new Probing({
      clock,
      random,
      attempt: () => this.#attempt(),
      isNeeded: () => this.#outage !== null && !this.#isClosed,
    })
    shared.onReach((isReachable) => (isReachable ? this.#reached() : this.#lostAll()))
    shared.onMerge((from, into) => this.#mergedElsewhere(from, into))
  }

  get outage(): Outage | null {
    return this.#outage
  }

  get isReachable(): boolean {
    return this.#isReachable
  }

  /**
   * Carries an operation out where its resource is, and once more if that is lost meanwhile.
   *
   * @param id the ticket that it is about: the name of its resource may be newer than what is known.
   */
  async operate<T, R>(resource: string, operation: Operation<T, R>, id?: string): Promise<R> {
    const { book, clock } = this.#options
    for (;;) {
      const side = (id && book.find(id)?.side) || book.sideOf(resource)
      side.usedAt = clock.now()
      if (side.isSwitching) {
        await side.switching
        continue
      }
      if (!this.#isReachable && side.isIdle) this.#leave(side, NOT_BACK)
      const done = side.isLocal
        ? await this.#here(side, operation)
        : await this.ask(
            side,
            () => operation.there(side),
            (answer) => operation.take(answer, side),
          )
      if (done) return done.value
    }
  }

  /** Asks the shared gate. Null when it cannot be reached, and the side has gone local for that. */
  async ask<T, R>(
    side: Side,
    there: () => Promise<T>,
    take: (answer: T) => R,
  ): Promise<Taken<R> | null> {
    try {
      return await side.pending.follow(there, take)
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) throw error
      this.#lost(side, error)
      return null
    }
  }

  /** Brings all of a side's tickets to the shared gate, which seems not to know them all. */
  rejoin(side: Side): void {
    if (side.isLocal || side.isToRejoin) return
    side.isToRejoin = true
    this.#follow(this.#alone([side], () => this.#confirm(side)))
  }

  /** All of the one resource is the other's from now on. */
  async merge(from: string, into: string): Promise<void> {
    const { book } = this.#options
    for (;;) {
      const [source, target] = [book.sideOf(from), book.sideOf(into)]
      if (source === target) return
      const busy = [source, target].find(({ isSwitching }) => isSwitching)
      if (!busy) return this.#merge(source, target)
      await busy.switching
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#probing.stop()
    for (const { pending, switching } of this.#options.book.sides) {
      await pending.none()
      await switching
    }
    await this.#outage?.local.close()
  }

  #here<T, R>(side: Side, { here }: Operation<T, R>): Promise<Taken<R> | null> {
    const { local } = this.#begun(NOT_BACK)
    return side.pending.follow(
      () => here(local, side),
      (answer) => answer,
    )
  }

  #begun(why: string): Outage {
    if (this.#outage) return this.#outage
    const { onFailure: policy, book, events } = this.#options
    this.#outage = new Outage({ ...this.#options, policy, failed: events.tellFailed })
    this.#probing.start()
    events.degraded({ policy, why, instances: book.instances })
    return this.#outage
  }

  #lost(side: Side, error: Error): void {
    this.#isReachable = false
    // It may have been merged meanwhile.
    this.#leave(this.#options.book.sideOf(side.name), error.message)
  }

  #lostAll(): void {
    this.#isReachable = false
    this.#losses++
    this.#begun(CONNECTION_LOST)
    for (const side of this.#options.book.sides) this.#leave(side, CONNECTION_LOST)
  }

  #leave(side: Side, why: string): void {
    if (side.isLocal) return
    this.#begun(why).takeIn(side)
    side.pending.abandon()
  }

  /** Pushes may have been lost meanwhile, even where no operation has failed. */
  #reached(): void {
    this.#isReachable = true
    for (const side of this.#options.book.sides) if (side.tickets.size > 0) this.rejoin(side)
    this.#follow(this.#probing.hurry())
  }

  async #attempt(): Promise<void> {
    const { book, events } = this.#options
    const losses = this.#losses
    try {
      await this.#options.shared.probe()
      await this.#tellMerges()
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) events.tellFailed(error)
      return
    }
    if (losses !== this.#losses) return
    this.#isReachable = true
    // Whatever was sent before the loss has its answer, or never gets one, before anything is told.
    const sides = book.sides.filter(({ isLocal, pending }) => isLocal && pending.count === 0)
    await Promise.all(sides.map((side) => this.#alone([side], () => this.#bringBack(side, losses))))
    const isOver = losses === this.#losses && this.#outage?.untoldMerges.size === 0
    if (isOver && !book.sides.some(({ isLocal }) => isLocal)) this.#end()
  }

  async #tellMerges(): Promise<void> {
    const merges = this.#outage?.untoldMerges ?? new Map<string, string>()
    for (const [from, into] of merges) {
      await this.#options.shared.merge(from, into).catch((error: unknown) => {
        if (error instanceof StoreUnreachable) throw error
        this.#options.events.tellFailed(error)
      })
      merges.delete(from)
    }
  }

  async #bringBack(side: Side, losses: number): Promise<void> {
    const { book, clock, shared } = this.#options
    const beganAt = clock.now()
    const granted = await rejoin(shared, side, book, clock)
    // It was lost again, or turned out to be another meanwhile: that one is still to come.
    if (losses !== this.#losses || book.sideOf(side.name) !== side) return
    this.#outage?.giveBack(side)
    this.#confirmed(side, granted, beganAt)
  }

  async #confirm(side: Side): Promise<void> {
    side.isToRejoin = false
    if (side.isLocal) return
    const { book, clock, shared } = this.#options
    const beganAt = clock.now()
    const granted = await rejoin(shared, side, book, clock)
    const present = book.sideOf(side.name)
    if (present !== side) this.rejoin(present)
    else if (!side.isLocal) this.#confirmed(side, granted, beganAt)
  }

  #confirmed(side: Side, granted: readonly Entry[], beganAt: EpochMs): void {
    const { clock, grants } = this.#options
    side.rejoinedFrom = beganAt
    side.confirmed(clock.now())
    for (const entry of granted) grants.foundThere(entry)
  }

  #end(): void {
    const outage = this.#outage
    if (!outage) return
    this.#outage = null
    const { clock, events } = this.#options
    const { resources, rejoined, startedAt } = outage
    events.returned({ afterMs: clock.now() - startedAt, resources: resources.size, rejoined })
    this.#follow(outage.local.close())
  }

  async #merge(from: Side, into: Side): Promise<void> {
    const { shared } = this.#options
    if (from.isLocal || into.isLocal || !this.#isReachable) {
      this.#mergeHere(from, into, true)
      return
    }
    await this.#alone([from, into], async () => {
      await shared.merge(from.name, into.name).catch((error: unknown) => {
        if (!(error instanceof StoreUnreachable)) throw error
        this.#isReachable = false
      })
      if (from.isLocal || into.isLocal || !this.#isReachable) this.#mergeHere(from, into, true)
      else this.#mergedThere(from, into)
    })
  }

  #mergedThere(from: Side, into: Side): void {
    this.#options.book.merge(from, into)
    const life = this.#options.shared.lifeOf(into.name) ?? NAMELESS_LIFE
    for (const entry of into.tickets.values()) {
      // Who merged them may have died before it brought all.
      entry.knownIn = null
      if (entry.grantedAt !== null) entry.countedIn = life
    }
  }

  #mergeHere(from: Side, into: Side, isUntold: boolean): void {
    const outage = this.#begun(NOT_BACK)
    this.#leave(from, NOT_BACK)
    this.#leave(into, NOT_BACK)
    outage.merge(from, into)
    if (isUntold) outage.untoldMerges.set(from.name, into.name)
    this.#options.book.merge(from, into)
  }

  #mergedElsewhere(from: string, into: string): void {
    const { book } = this.#options
    const [source, target] = [book.sideOf(from), book.sideOf(into)]
    if (source === target) return
    if (source.isLocal || target.isLocal) this.#mergeHere(source, target, false)
    else this.#mergedThere(source, target)
  }

  async #alone(sides: readonly Side[], work: () => Promise<void>): Promise<void> {
    const { grants } = this.#options
    await alone(
      sides,
      () => work().catch((error: unknown) => this.#failedAlone(sides, error)),
      (side) => grants.deliver(side),
    )
  }

  #failedAlone(sides: readonly Side[], error: unknown): void {
    if (error instanceof StoreUnreachable) for (const side of sides) this.#lost(side, error)
    else this.#options.events.tellFailed(error)
  }

  #follow(operation: Promise<void>): void {
    operation.catch(this.#options.events.tellFailed)
  }
}

const CONNECTION_LOST = 'the connection was lost'
const NOT_BACK = 'the connection is not back'
