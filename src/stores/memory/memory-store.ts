// The store of one process. Owns: its gates by name, one timer each, and letting idle ones go.
// Must not know: who asks for turns, or what for.

import type { Bounce, LimitRefusal, Placement, Prediction } from '../../core/admission.ts'
import type { Clock, EpochMs, Timer } from '../../core/clock.ts'
import type { CostVector } from '../../core/cost.ts'
import { Gate } from '../../core/gate.ts'
import type { Observation } from '../../core/observation.ts'
import type { Grant, ResourceSnapshot, SettingsOf, Store } from '../../core/store.ts'
import type { OwnTicket, Place, TicketRequest, TicketView } from '../../core/ticket.ts'

/** How many other resources each operation looks at, to forget those that are idle. */
const SWEPT_PER_OPERATION = 2
/** A resource in steady use is not made anew at each turn. */
const KEPT_IDLE_MS = 5000

class Resource {
  readonly name: string
  readonly gate: Gate
  timer: Timer | null = null
  timerAt: EpochMs = Number.POSITIVE_INFINITY
  usedAt: EpochMs = Number.NEGATIVE_INFINITY

  constructor(name: string, gate: Gate) {
    this.name = name
    this.gate = gate
  }
}

export class MemoryStore implements Store {
  /** Also names its one life: what its gates have counted, they have counted for good. */
  readonly kind = 'memory'
  readonly isDegraded = false
  readonly #clock: Clock
  readonly #settingsOf: SettingsOf
  readonly #resources = new Map<string, Resource>()
  /** Names of resources that turned out to be others. As many as there are keys of one organization. */
  readonly #mergedInto = new Map<string, string>()
  #sweep = this.#resources.values()
  #tellGrant: (grant: Grant) => void = () => {}

  constructor(clock: Clock, settingsOf: SettingsOf) {
    this.#clock = clock
    this.#settingsOf = settingsOf
  }

  /** Resources that are held in memory. */
  get size(): number {
    return this.#resources.size
  }

  onGrant(listener: (grant: Grant) => void): void {
    this.#tellGrant = listener
  }

  /** There is no other process. */
  onLost(): void {}

  async enqueue(request: TicketRequest): Promise<Placement> {
    const now = this.#clock.now()
    const resource = this.#open(request.resource, now)
    const placement = resource.gate.enqueue(request, now)
    this.#after(resource, placement.kind === 'admitted' ? request.id : null, now)
    return placement
  }

  async cancel(name: string, id: string): Promise<Place | null> {
    return this.#with(name, null, (gate, now) => gate.cancel(id, now))
  }

  /** All tickets are this process's own. */
  async leave(name: string, id: string): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.leave(id, now))
  }

  async unpark(name: string, id: string, estimate: CostVector): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.unpark(id, estimate, now))
  }

  async raise(name: string, id: string): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.raise(id, now))
  }

  async settle(name: string, id: string, actual: CostVector, exact: boolean): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.settle(id, actual, exact, now))
  }

  async release(name: string, id: string): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.release(id, now))
  }

  async revise(
    name: string,
    id: string,
    estimate: CostVector,
    produced: number | null,
  ): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.revise(id, estimate, produced, now))
  }

  async bounce(name: string, id: string, bounce: Bounce): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.bounce(id, bounce, now))
  }

  async answered(name: string, firstAnswerMs: number | null): Promise<void> {
    this.#with(name, undefined, (gate, now) => gate.answered(firstAnswerMs, now))
  }

  async observe(name: string, observation: Observation): Promise<void> {
    const now = this.#clock.now()
    const resource = this.#open(name, now)
    resource.gate.observe(observation, now)
    this.#after(resource, null, now)
  }

  async refused(name: string, refusal: LimitRefusal): Promise<void> {
    const now = this.#clock.now()
    const resource = this.#open(name, now)
    resource.gate.refused(refusal, now)
    this.#after(resource, null, now)
  }

  async pause(name: string, until: EpochMs): Promise<void> {
    const now = this.#clock.now()
    const resource = this.#open(name, now)
    resource.gate.pause(until, now)
    this.#after(resource, null, now)
  }

  async merge(from: string, into: string): Promise<void> {
    const source = this.#find(from)
    const now = this.#clock.now()
    const target = this.#open(into, now)
    if (source === target) return
    this.#mergedInto.set(from, into)
    if (!source) return
    target.gate.adopt(source.gate.takeAll(), now)
    source.timer?.cancel()
    this.#resources.delete(source.name)
    this.#after(target, null, now)
  }

  async renew(name: string, holder: string, ttlMs: number): Promise<boolean> {
    return this.#with(name, false, (gate, now) => gate.renew(holder, ttlMs, now))
  }

  async rejoin(
    name: string,
    tickets: readonly OwnTicket[],
    spent: CostVector,
  ): Promise<readonly string[]> {
    const now = this.#clock.now()
    const resource = this.#open(name, now)
    const held = resource.gate.rejoin(tickets, spent, this.kind, now)
    this.#after(resource, null, now)
    return held
  }

  async position(name: string, id: string): Promise<Prediction | null> {
    return this.#find(name)?.gate.position(id, this.#clock.now()) ?? null
  }

  async snapshot(): Promise<readonly ResourceSnapshot[]> {
    const now = this.#clock.now()
    return [...this.#resources.values()].map(({ name, gate }) => ({ name, ...gate.snapshot(now) }))
  }

  async look(name: string): Promise<ResourceSnapshot | null> {
    const resource = this.#find(name)
    return resource ? { name: resource.name, ...resource.gate.snapshot(this.#clock.now()) } : null
  }

  async ticket(name: string, id: string): Promise<TicketView | null> {
    return this.#find(name)?.gate.ticket(id) ?? null
  }

  async tickets(name: string, most: number): Promise<readonly TicketView[]> {
    return this.#find(name)?.gate.tickets(most) ?? []
  }

  reconfigure(): void {
    const now = this.#clock.now()
    for (const resource of [...this.#resources.values()]) {
      resource.gate.configure(this.#settingsOf(resource.name), now)
      this.#after(resource, null, now)
    }
  }

  async close(): Promise<void> {
    for (const resource of this.#resources.values()) resource.timer?.cancel()
    this.#resources.clear()
  }

  /** A resource by its name, or by one that it has taken over. */
  #find(name: string): Resource | undefined {
    return this.#resources.get(this.#mergedInto.get(name) ?? name)
  }

  #open(name: string, now: EpochMs): Resource {
    const known = this.#find(name)
    if (known) return known
    const present = this.#mergedInto.get(name) ?? name
    const resource = new Resource(present, new Gate(this.#settingsOf(present), now))
    this.#resources.set(present, resource)
    return resource
  }

  #with<T>(name: string, otherwise: T, operate: (gate: Gate, now: EpochMs) => T): T {
    const resource = this.#find(name)
    if (!resource) return otherwise
    const now = this.#clock.now()
    const result = operate(resource.gate, now)
    this.#after(resource, null, now)
    return result
  }

  /** Tells those who were admitted, save one who is told by the answer, and sets the timer. */
  #after(resource: Resource, toldOtherwise: string | null, now: EpochMs): void {
    resource.usedAt = now
    for (const { id } of resource.gate.takeGrants())
      if (id !== toldOtherwise) this.#tellGrant({ resource: resource.name, id, grantedAt: now })
    this.#arm(resource)
    this.#forgetIdle(now)
  }

  #arm(resource: Resource): void {
    const { wakeAt } = resource.gate
    if (wakeAt === resource.timerAt) return
    resource.timer?.cancel()
    resource.timerAt = wakeAt
    resource.timer =
      wakeAt === Number.POSITIVE_INFINITY
        ? null
        : this.#clock.schedule(wakeAt, () => {
            resource.timerAt = Number.POSITIVE_INFINITY
            const now = this.#clock.now()
            resource.gate.pump(now)
            this.#after(resource, null, now)
          })
  }

  #forgetIdle(now: EpochMs): void {
    for (let count = 0; count < SWEPT_PER_OPERATION; count++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = this.#resources.values()
        return
      }
      const { name, gate, usedAt } = next.value
      if (usedAt + KEPT_IDLE_MS <= now && gate.isIdle(now)) this.#resources.delete(name)
    }
  }
}
