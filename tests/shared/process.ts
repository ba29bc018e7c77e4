// A process that shares gates with others: its store, and callers that behave as those of a gateway.
// Owns: knowing what each caller has been told, and that none is told twice or wrongly. Must not know:
// what a test makes of it.
import { setImmediate } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Bounce, GateSettings } from '../../src/core/admission.ts'
import type { EpochMs, VirtualClock } from '../../src/core/clock.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { seededRandom } from '../../src/core/random.ts'
import { StoreUnreachable } from '../../src/core/store.ts'
import type { Holder, TicketRequest } from '../../src/core/ticket.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { FailurePolicy } from '../../src/stores/shared/local-share.ts'
import { SharedStore } from '../../src/stores/shared/shared-store.ts'
import type { FakeGates, FakeServer } from './fake-gates.ts'

export const START_AT: EpochMs = 1.8e12
export const RESOURCE = 'resource'

export const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

export const perMinute = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount,
  windowMs: 60_000,
  source: 'configured',
})

export const settingsWith = (...limits: readonly Limit[]): GateSettings => ({
  limits,
  learns: false,
  agingMs: Number.POSITIVE_INFINITY,
  maxQueued: 1000,
  floors: { soft: 0, hard: 0 },
})

/** Moves to an instant and does all that is due on the way, one after the other. */
export async function advance(clock: VirtualClock, ms: number): Promise<void> {
  const to = clock.now() + ms
  await setImmediate()
  while (clock.nextAt() <= to) {
    clock.step()
    await setImmediate()
  }
  clock.advanceTo(to)
}

export interface Caller {
  readonly id: string
  readonly cost: CostVector
  parked: boolean
  /** `left`: it has gone, and wants no lease any more. */
  state: 'asking' | 'waiting' | 'held' | 'left' | 'refused' | 'over'
}

export interface Wish {
  /** @default one of its own */
  readonly id?: string
  readonly resource?: string
  readonly input?: number
  readonly parked?: boolean
  readonly holder?: Holder
  readonly deadlineAt?: EpochMs
}

export class Process {
  readonly store: SharedStore
  readonly gates: FakeGates
  readonly callers: Caller[] = []
  /** What its store has told, in order. */
  readonly told: string[] = []
  /** When each caller was let in, and what that took. */
  readonly takes: { readonly at: EpochMs; readonly cost: CostVector }[] = []
  onTake: () => void = () => {}
  readonly #clock: VirtualClock
  readonly #name: string
  #resource = RESOURCE
  #ids = 0

  constructor(
    server: FakeServer,
    clock: VirtualClock,
    name: string,
    settings: GateSettings,
    onFailure: FailurePolicy = 'degrade',
  ) {
    this.#clock = clock
    this.#name = name
    this.gates = server.connect(name)
    this.store = new SharedStore({
      clock,
      random: seededRandom(name.length),
      shared: this.gates,
      settingsOf: () => settings,
      localStore: (settingsOf) => new MemoryStore(clock, settingsOf),
      onFailure,
      events: {
        degraded: ({ policy, instances }) => this.told.push(`${policy} among ${instances}`),
        returned: ({ resources, rejoined }) =>
          this.told.push(`returned ${resources} with ${rejoined}`),
        tellFailed: (error) => {
          throw error
        },
      },
    })
    this.store.onGrant(({ id }) => this.#granted(id))
  }

  in(state: Caller['state']): readonly Caller[] {
    return this.callers.filter((caller) => caller.state === state)
  }

  get held(): readonly string[] {
    return this.in('held').map(({ id }) => id)
  }

  get waiting(): readonly string[] {
    return this.in('waiting').map(({ id }) => id)
  }

  async ask(wish: Wish = {}): Promise<Caller> {
    const caller: Caller = {
      id: wish.id ?? `${this.#name}${this.#ids++}`,
      cost: costOf({ input_tokens: wish.input ?? 10 }),
      parked: wish.parked ?? false,
      state: 'asking',
    }
    this.callers.push(caller)
    try {
      const { kind } = await this.store.enqueue(this.#request(caller, wish))
      if (kind === 'admitted') this.#admit(caller)
      // Its push may have overtaken this answer.
      else if (caller.state === 'asking') caller.state = kind === 'waiting' ? kind : 'refused'
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) throw error
      caller.state = 'refused'
    }
    return caller
  }

  async leave(caller: Caller): Promise<void> {
    caller.state = 'left'
    const place = await this.store.cancel(this.#resource, caller.id)
    if (place) caller.state = 'over'
  }

  /** As `leave`, whatever has become of it by now. */
  async leaveForGood(caller: Caller): Promise<boolean> {
    caller.state = 'left'
    const hasLeft = await this.store.leave(this.#resource, caller.id, 'own')
    caller.state = 'over'
    return hasLeft
  }

  async settle(caller: Caller, input = caller.cost.input_tokens, exact = true): Promise<boolean> {
    caller.state = 'over'
    return this.store.settle(this.#resource, caller.id, costOf({ input_tokens: input }), exact)
  }

  async release(caller: Caller): Promise<boolean> {
    caller.state = 'over'
    return this.store.release(this.#resource, caller.id)
  }

  async bounce(caller: Caller, bounce: Bounce): Promise<boolean> {
    caller.state = 'waiting'
    return this.store.bounce(this.#resource, caller.id, bounce)
  }

  async unpark(caller: Caller): Promise<boolean> {
    caller.parked = false
    return this.store.unpark(this.#resource, caller.id, caller.cost)
  }

  async snapshot() {
    return (await this.store.snapshot()).find(({ name }) => name === this.#resource)
  }

  /** Its resource has turned out to be another, for all its callers at once. */
  merge(into: string): Promise<void> {
    const from = this.#resource
    this.#resource = into
    return this.store.merge(from, into)
  }

  #request({ id, cost, parked }: Caller, wish: Wish): TicketRequest {
    return {
      id,
      resource: wish.resource ?? this.#resource,
      flow: this.#name,
      lane: 'normal',
      weight: 1,
      estimate: cost,
      deadlineAt: wish.deadlineAt ?? Number.POSITIVE_INFINITY,
      place: null,
      parked,
      holder: wish.holder ?? null,
    }
  }

  #granted(id: string): void {
    const caller = this.callers.find((known) => known.id === id)
    expect(caller, `${id} is nobody`).toBeDefined()
    if (caller) this.#admit(caller)
  }

  #admit(caller: Caller): void {
    expect(['asking', 'waiting', 'left'], caller.id).toContain(caller.state)
    if (caller.state === 'left') {
      caller.state = 'over'
      void this.store.release(this.#resource, caller.id)
      return
    }
    caller.state = 'held'
    this.takes.push({ at: this.#clock.now(), cost: caller.cost })
    this.onTake()
  }
}
