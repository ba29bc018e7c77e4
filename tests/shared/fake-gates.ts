// Gates that many processes share, in this one's memory: what a SharedStore is tested on. Owns: a
// server that can lose its state, and connections to it that can be slow, cut off or deaf. Must not
// know: what a process makes of that.
import type { Bounce, LimitRefusal } from '../../src/core/admission.ts'
import type { Clock, EpochMs } from '../../src/core/clock.ts'
import type { CostVector } from '../../src/core/cost.ts'
import type { Observation } from '../../src/core/observation.ts'
import { type Grant, type SettingsOf, StoreUnreachable, type Whose } from '../../src/core/store.ts'
import type { OwnTicket, TicketRequest } from '../../src/core/ticket.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { Beat, Loss, SharedGates } from '../../src/stores/shared-gates.ts'

/** What a memory store calls its own life, whatever it is to those who share it. */
const MEMORY = 'memory'

interface Known {
  resource: string
  owner: string
  /** Whether it lives as long as its owner beats. */
  readonly isOwn: boolean
  isHeld: boolean
}

export class FakeServer {
  readonly clock: Clock
  readonly lifeMs: number
  life = MEMORY
  gates: MemoryStore
  /** All that processes have said was spent elsewhere. */
  readonly spent: CostVector[] = []
  readonly known = new Map<string, Known>()
  readonly connections = new Map<string, FakeGates>()
  readonly #settingsOf: SettingsOf
  readonly #expiries = new Map<string, EpochMs>()
  readonly #mergedInto = new Map<string, string>()
  #lives = 1

  constructor(clock: Clock, settingsOf: SettingsOf, lifeMs = 10_000) {
    this.clock = clock
    this.lifeMs = lifeMs
    this.#settingsOf = settingsOf
    this.gates = this.#begin()
  }

  connect(instance: string): FakeGates {
    const connection = new FakeGates(this, instance)
    this.connections.set(instance, connection)
    return connection
  }

  /** As if it were started anew, with nothing. */
  loseState(): void {
    void this.gates.close()
    this.known.clear()
    this.#expiries.clear()
    this.life = `${MEMORY}-${++this.#lives}`
    this.gates = this.#begin()
  }

  /** Forgets what a process has, if it has been silent for too long. */
  expire(instance: string, resource: string): void {
    const at = this.#expiries.get(`${instance} ${resource}`)
    if (at === undefined || at > this.clock.now()) return
    for (const [id, known] of this.known)
      if (known.isOwn && known.owner === instance && known.resource === resource)
        this.known.delete(id)
  }

  aliveUntil(instance: string, resource: string, at: EpochMs): void {
    this.#expiries.set(`${instance} ${resource}`, at)
  }

  heardOf(instance: string, resource: string): void {
    const before = this.#expiries.get(`${instance} ${resource}`) ?? 0
    this.aliveUntil(instance, resource, Math.max(before, this.clock.now() + this.lifeMs))
  }

  ownedBy(instance: string, resource: string): readonly [string, Known][] {
    return [...this.known].filter(
      ([, known]) => known.isOwn && known.owner === instance && known.resource === resource,
    )
  }

  /** A ticket is the asking process's from now on, and news to the one whose it was. */
  takeOver(id: string, instance: string): void {
    const known = this.known.get(id)
    if (!known || known.isOwn || known.owner === instance) return
    this.connections.get(known.owner)?.pushLoss({ id, lostAt: this.clock.now() })
    known.owner = instance
  }

  presentName(resource: string): string {
    return this.#mergedInto.get(resource) ?? resource
  }

  async merge(from: string, into: string): Promise<void> {
    if (from === into) return
    this.#mergedInto.set(from, into)
    for (const instance of this.connections.keys()) this.#moveLife(instance, from, into)
    for (const known of this.known.values()) if (known.resource === from) known.resource = into
    await this.gates.merge(from, into)
  }

  #moveLife(instance: string, from: string, into: string): void {
    this.expire(instance, from)
    this.expire(instance, into)
    const lives = [from, into].map((resource) => this.#expiries.get(`${instance} ${resource}`) ?? 0)
    this.aliveUntil(instance, into, Math.max(...lives))
  }

  #begin(): MemoryStore {
    const gates = new MemoryStore(this.clock, this.#settingsOf)
    gates.onGrant((grant) => {
      const known = this.known.get(grant.id)
      if (!known) return
      known.isHeld = true
      this.connections.get(known.owner)?.push(grant)
    })
    return gates
  }
}

/** What is to become of an operation: lost on its way there, or on its way back. */
export type Fault = 'none' | 'before' | 'after'

export class FakeGates implements SharedGates {
  readonly kind = 'fake'
  readonly instance: string
  isReachable = true
  /** Pushes are lost. */
  isDeaf = false
  /** How long each way takes, for operations and for pushes; not at all by default. */
  latencyMs: () => number = () => 0
  faultOf: (operation: string) => Fault = () => 'none'
  readonly #server: FakeServer
  readonly #lives = new Map<string, string>()
  readonly #merges = new Set<string>()
  readonly #lost = new Set<() => void>()
  #thereAt: EpochMs = 0
  #hereAt: EpochMs = 0
  #tellGrant: (grant: Grant) => void = () => {}
  #tellReach: (isReachable: boolean) => void = () => {}
  #tellLoss: (loss: Loss) => void = () => {}
  #tellMerge: (from: string, into: string) => void = () => {}

  constructor(server: FakeServer, instance: string) {
    this.#server = server
    this.instance = instance
  }

  onGrant(listener: (grant: Grant) => void): void {
    this.#tellGrant = listener
  }

  onLost(listener: (loss: Loss) => void): void {
    this.#tellLoss = listener
  }

  onReach(listener: (isReachable: boolean) => void): void {
    this.#tellReach = listener
  }

  onMerge(listener: (from: string, into: string) => void): void {
    this.#tellMerge = listener
  }

  lifeOf(resource: string): string | null {
    return this.#lives.get(resource) ?? null
  }

  /** Nothing goes through any more, and nobody knows what has become of all that was on its way. */
  cutOff(): void {
    this.isReachable = false
    for (const lose of [...this.#lost]) lose()
    this.#tellReach(false)
  }

  restore(): void {
    this.isReachable = true
    this.#tellReach(true)
  }

  push(grant: Grant): void {
    this.#push(() => this.#tellGrant(grant))
  }

  pushLoss(loss: Loss): void {
    this.#push(() => this.#tellLoss(loss))
  }

  enqueue(request: TicketRequest) {
    return this.#at('enqueue', request.resource, async (server, resource) => {
      const isNew = !server.known.has(request.id)
      if (request.holder === null) server.heardOf(this.instance, resource)
      if (isNew) this.#know(request, resource, false)
      else server.takeOver(request.id, this.instance)
      const placement = await server.gates.enqueue(this.#owned(request, resource))
      const known = server.known.get(request.id)
      if (placement.kind === 'admitted' && known) known.isHeld = true
      if (placement.kind === 'refused' && isNew) server.known.delete(request.id)
      return placement
    })
  }

  cancel(resource: string, id: string) {
    return this.#at('cancel', resource, async ({ gates }, resource) => {
      const place = await gates.cancel(resource, id)
      if (place) this.#forget(id)
      return place
    })
  }

  unpark(resource: string, id: string, estimate: CostVector) {
    return this.#at('unpark', resource, ({ gates }, resource) =>
      gates.unpark(resource, id, estimate),
    )
  }

  raise(resource: string, id: string) {
    return this.#at('raise', resource, ({ gates }, resource) => gates.raise(resource, id))
  }

  settle(resource: string, id: string, actual: CostVector, exact: boolean) {
    return this.#at('settle', resource, (server, resource) =>
      this.#end(id, server.gates.settle(resource, id, actual, exact)),
    )
  }

  release(resource: string, id: string) {
    return this.#at('release', resource, (server, resource) =>
      this.#end(id, server.gates.release(resource, id)),
    )
  }

  leave(resource: string, id: string, whose: Whose) {
    return this.#at('leave', resource, async (server, resource) => {
      const known = server.known.get(id)
      const isAnothers = known && !known.isOwn && known.owner !== this.instance
      if (isAnothers && whose === 'own') return false
      return this.#end(id, server.gates.leave(resource, id))
    })
  }

  mine(resource: string, ids: readonly string[]): Promise<readonly string[]> {
    return this.#at('mine', resource, async (server, resource) => {
      const there = await server.gates.tickets(resource, Number.POSITIVE_INFINITY)
      const mine = new Set(
        there.flatMap(({ id }) => (server.known.get(id)?.owner === this.instance ? id : [])),
      )
      return ids.filter((id) => mine.has(id))
    })
  }

  ticket(resource: string, id: string) {
    return this.#at('ticket', resource, ({ gates }, resource) => gates.ticket(resource, id))
  }

  tickets(resource: string, most: number) {
    return this.#at('tickets', resource, ({ gates }, resource) => gates.tickets(resource, most))
  }

  revise(resource: string, id: string, estimate: CostVector, produced: number | null) {
    return this.#at('revise', resource, ({ gates }, resource) =>
      gates.revise(resource, id, estimate, produced),
    )
  }

  bounce(resource: string, id: string, bounce: Bounce) {
    return this.#at('bounce', resource, ({ gates, known }, resource) => {
      const lease = known.get(id)
      // It may be let in again before this returns.
      if (lease) lease.isHeld = false
      return gates.bounce(resource, id, bounce)
    })
  }

  answered(resource: string, firstAnswerMs: number | null) {
    return this.#at('answered', resource, ({ gates }, resource) =>
      gates.answered(resource, firstAnswerMs),
    )
  }

  observe(resource: string, observation: Observation) {
    return this.#at('observe', resource, ({ gates }, resource) =>
      gates.observe(resource, observation),
    )
  }

  refused(resource: string, refusal: LimitRefusal) {
    return this.#at('refused', resource, ({ gates }, resource) => gates.refused(resource, refusal))
  }

  pause(resource: string, until: EpochMs) {
    return this.#at('pause', resource, ({ gates }, resource) => gates.pause(resource, until))
  }

  merge(from: string, into: string) {
    return this.#at('merge', into, (server) =>
      server.merge(server.presentName(from), server.presentName(into)),
    )
  }

  renew(resource: string, holder: string, ttlMs: number) {
    return this.#at('renew', resource, ({ gates }, resource) =>
      gates.renew(resource, holder, ttlMs),
    )
  }

  rejoin(resource: string, tickets: readonly OwnTicket[], spent: CostVector) {
    return this.#at('rejoin', resource, async (server, resource) => {
      server.spent.push(spent)
      if (tickets.some(({ request }) => request.holder === null))
        server.heardOf(this.instance, resource)
      for (const { request, grantedAt } of tickets)
        if (!server.known.has(request.id)) this.#know(request, resource, grantedAt !== null)
      const brought = tickets.map((ticket) => ({
        ...ticket,
        request: this.#owned(ticket.request, resource),
        countedIn: ticket.countedIn === server.life ? MEMORY : null,
      }))
      const held = await server.gates.rejoin(resource, brought, spent)
      for (const id of held) {
        const lease = server.known.get(id)
        if (lease) lease.isHeld = true
      }
      return held.filter((id) => server.known.get(id)?.owner === this.instance)
    })
  }

  position(resource: string, id: string) {
    return this.#at('position', resource, ({ gates }, resource) => gates.position(resource, id))
  }

  beat(resource: string): Promise<Beat> {
    return this.#at('beat', resource, async (server, resource) => {
      const own = server.ownedBy(this.instance, resource)
      const isKnown = await server.gates.renew(resource, this.instance, server.lifeMs)
      if (isKnown) server.aliveUntil(this.instance, resource, server.clock.now() + server.lifeMs)
      const snapshots = await server.gates.snapshot()
      const held = own.filter(([, { isHeld }]) => isHeld).length
      return {
        isKnown,
        held,
        waiting: own.length - held,
        instances: server.connections.size,
        limits: snapshots.find(({ name }) => name === resource)?.limits ?? [],
      }
    })
  }

  owned(resource: string): Promise<readonly string[]> {
    return this.#at('owned', resource, async (server, resource) =>
      server.ownedBy(this.instance, resource).map(([id]) => id),
    )
  }

  snapshot() {
    return this.#at('snapshot', '', ({ gates }) => gates.snapshot())
  }

  look(resource: string) {
    return this.#at('look', resource, ({ gates }, resource) => gates.look(resource))
  }

  reconfigure(): void {
    this.#server.gates.reconfigure()
  }

  probe(): Promise<void> {
    return this.#at('probe', '', async () => {})
  }

  async close(): Promise<void> {
    this.isReachable = false
    for (const lose of [...this.#lost]) lose()
  }

  #owned(request: TicketRequest, resource: string): TicketRequest {
    const { lifeMs } = this.#server
    return { ...request, resource, holder: request.holder ?? { id: this.instance, ttlMs: lifeMs } }
  }

  #know({ id, holder }: TicketRequest, resource: string, isHeld: boolean): void {
    const owner = this.instance
    this.#server.known.set(id, { resource, owner, isOwn: holder === null, isHeld })
  }

  async #end(id: string, operation: Promise<boolean>): Promise<boolean> {
    const wasLease = await operation
    if (wasLease) this.#forget(id)
    return wasLease
  }

  #forget(id: string): void {
    this.#server.takeOver(id, this.instance)
    this.#server.known.delete(id)
  }

  /** One that is lost on its way is nobody's failure. */
  #push(tell: () => void): void {
    if (!this.isReachable || this.isDeaf) return
    this.#back().then(tell, () => {})
  }

  /** Goes there, does it, and comes back: in the order in which operations were begun. */
  async #at<T>(
    operation: string,
    resource: string,
    operate: (server: FakeServer, resource: string) => Promise<T>,
  ): Promise<T> {
    const fault = this.faultOf(operation)
    await this.#there()
    if (!this.isReachable || fault === 'before') throw new StoreUnreachable(`${operation} is lost`)
    const server = this.#server
    const present = server.presentName(resource)
    server.expire(this.instance, present)
    const answer = await operate(server, present)
    if (fault === 'after') throw new StoreUnreachable(`the answer to ${operation} is lost`)
    await this.#back()
    this.#heard(resource, server.presentName(resource))
    return answer
  }

  #heard(resource: string, present: string): void {
    this.#lives.set(present, this.#server.life)
    if (present === resource || this.#merges.has(resource)) return
    this.#merges.add(resource)
    this.#tellMerge(resource, present)
  }

  async #there(): Promise<void> {
    const waitMs = this.latencyMs()
    if (waitMs === 0) return
    this.#thereAt = Math.max(this.#thereAt, this.#server.clock.now() + waitMs)
    await this.#arrival(this.#thereAt)
  }

  async #back(): Promise<void> {
    const waitMs = this.latencyMs()
    if (waitMs === 0) return
    this.#hereAt = Math.max(this.#hereAt, this.#server.clock.now() + waitMs)
    await this.#arrival(this.#hereAt)
  }

  /** Rejects when the connection is cut before. */
  #arrival(at: EpochMs): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#server.clock.schedule(at, () => {
        this.#lost.delete(lose)
        resolve()
      })
      const lose = (): void => {
        timer.cancel()
        this.#lost.delete(lose)
        reject(new StoreUnreachable('the connection was cut'))
      }
      this.#lost.add(lose)
    })
  }
}
