// The store that many processes share. Owns: carrying each operation to the gate's script, in one
// round trip, and its answer back; waking the gates that this process has promised to wake. Must not
// know: how a gate decides (scripts/), what to do when the store is out of reach (SharedStore).
import type {
  Bounce,
  GateSettings,
  LimitRefusal,
  Placement,
  Prediction,
} from '../../core/admission.ts'
import type { Clock, EpochMs, Timer } from '../../core/clock.ts'
import { type CostVector, NOTHING } from '../../core/cost.ts'
import { LANES } from '../../core/lane.ts'
import type { Observation } from '../../core/observation.ts'
import {
  type Grant,
  type ResourceSnapshot,
  type SettingsOf,
  StoreUnreachable,
  type Whose,
} from '../../core/store.ts'
import type { Holder, OwnTicket, Place, TicketRequest, TicketView } from '../../core/ticket.ts'
import type { Beat, Loss, SharedGates } from '../shared-gates.ts'
import {
  type Answer,
  bindingOf,
  type GateAnswer,
  limitSnapshotOf,
  listOf,
  numberOf,
  numberOrNull,
  parseAnswer,
  predictionOf,
  textOf,
  textsOf,
  ticketViewOf,
  type Values,
} from './answer.ts'
import type { RedisConnection } from './connection.ts'
import { grantsChannel, keyOf, probeKey } from './keys.ts'
import { Program } from './program.ts'
import { Registry } from './registry.ts'
import type { Script } from './script.ts'
import { allScripts } from './scripts.generated.ts'
import { ServerTime } from './server-time.ts'
import { settingsText } from './settings-text.ts'

/** How many other resources each operation looks at, to forget those that this process uses no more. */
const SWEPT_PER_OPERATION = 2
const REMEMBERED_MS = 60_000
/** An operation is repeated with settings, or under another name, and that is all that can be asked. */
const MOST_TRIES = 5
const PROBE_LIVES_MS = 1000
/** What breaks gates again and again must not take the others' with it each time. */
const BROKEN_AT_MOST_EVERY_MS = 10_000

export interface RedisStoreOptions {
  readonly connection: RedisConnection
  readonly clock: Clock
  readonly settingsOf: SettingsOf
  /** Names this process among all that share the store. */
  readonly instance: string
  /** How long this process is believed to live after each sign of life. */
  readonly leaseMs: number
  /** Is told what must not fail, where nobody waits for the outcome. */
  readonly failed: (error: unknown) => void
  /** The scripts to run. @default the store's own */
  readonly scripts?: typeof allScripts
}

/** What this process knows of a gate. */
class Acquaintance {
  readonly name: string
  settings: GateSettings
  readonly time: ServerTime
  life: string | null = null
  timer: Timer | null = null
  listedAt: EpochMs = Number.NEGATIVE_INFINITY
  brokenAt: EpochMs = Number.NEGATIVE_INFINITY
  usedAt: EpochMs = Number.NEGATIVE_INFINITY

  constructor(name: string, settings: GateSettings, time: ServerTime) {
    this.name = name
    this.settings = settings
    this.time = time
  }
}

interface Common {
  readonly resource: string
  readonly instance: string
  readonly revision: number
  readonly settings: string
}

/** Gives an operation its arguments, by the gate's time where they are instants. */
type ArgsFor<Args> = (common: Common, gate: Acquaintance) => Args

export class RedisStore implements SharedGates {
  readonly kind = 'redis'
  readonly instance: string
  readonly #connection: RedisConnection
  readonly #clock: Clock
  readonly #settingsOf: SettingsOf
  readonly #leaseMs: number
  readonly #scripts: typeof allScripts
  readonly #program: Program
  readonly #registry: Registry
  /** The server's own clock; a gate's may be ahead of it. */
  readonly #time = new ServerTime()
  readonly #failed: (error: unknown) => void
  /** When this process's settings were made: of processes that differ, the youngest is right. */
  #revision: EpochMs
  readonly #known = new Map<string, Acquaintance>()
  readonly #mergedInto = new Map<string, string>()
  readonly #underway = new Set<Promise<unknown>>()
  #sweep = this.#known.values()
  #tellGrant: (grant: Grant) => void = () => {}
  #tellLoss: (loss: Loss) => void = () => {}
  #tellMerge: (from: string, into: string) => void = () => {}

  private constructor(options: RedisStoreOptions) {
    this.instance = options.instance
    this.#connection = options.connection
    this.#clock = options.clock
    this.#settingsOf = options.settingsOf
    this.#leaseMs = options.leaseMs
    this.#scripts = options.scripts ?? allScripts
    this.#program = new Program(this.#scripts)
    this.#failed = options.failed
    this.#revision = options.clock.now()
    this.#registry = new Registry(options.connection, {
      now: () => this.#time.toGate(options.clock.now()),
      instance: options.instance,
      lifeMs: options.leaseMs,
    })
  }

  static async open(options: RedisStoreOptions): Promise<RedisStore> {
    const store = new RedisStore(options)
    const channel = grantsChannel(options.connection.prefix, options.instance)
    await options.connection.subscribe(channel, (message) => store.#hearPush(message))
    await store.#meetServer().catch(ignoreUnreachable)
    return store
  }

  onGrant(listener: (grant: Grant) => void): void {
    this.#tellGrant = listener
  }

  onLost(listener: (loss: Loss) => void): void {
    this.#tellLoss = listener
  }

  onMerge(listener: (from: string, into: string) => void): void {
    this.#tellMerge = listener
  }

  onReach(listener: (isReachable: boolean) => void): void {
    this.#connection.onReach(listener)
  }

  lifeOf(resource: string): string | null {
    return this.#known.get(this.#presentName(resource))?.life ?? null
  }

  async enqueue(request: TicketRequest): Promise<Placement> {
    const [own, gate] = await this.#run(
      this.#scripts.enqueue,
      request.resource,
      (common, { time }) => ({
        ...common,
        id: request.id,
        flow: request.flow.toWellFormed(),
        lane: LANES.indexOf(request.place?.lane ?? request.lane),
        weight: request.weight,
        estimate: request.estimate,
        deadlineAt: time.toGate(request.deadlineAt),
        parked: request.parked,
        ...this.#holderOf(request.holder),
        hasPlace: request.place !== null,
        enqueuedAt: time.toGate(request.place?.enqueuedAt ?? 0),
        laneSince: time.toGate(request.place?.laneSince ?? 0),
        startTag: request.place?.startTag ?? 0,
      }),
    )
    return placementOf(own, gate)
  }

  async cancel(resource: string, id: string): Promise<Place | null> {
    const [own, { time }] = await this.#run(this.#scripts.cancel, resource, (common) => ({
      ...common,
      id,
    }))
    if (own.length === 0) return null
    const [enqueuedAt, lane, laneSince, startTag] = own
    return {
      enqueuedAt: time.toLocal(numberOf(enqueuedAt)),
      lane: LANES[numberOf(lane)] ?? 'low',
      laneSince: time.toLocal(numberOf(laneSince)),
      startTag: numberOf(startTag),
    }
  }

  leave(resource: string, id: string, whose: Whose): Promise<boolean> {
    return this.#decide(this.#scripts.leave, resource, (common) => ({
      ...common,
      id,
      onlyOwn: whose === 'own',
    }))
  }

  unpark(resource: string, id: string, estimate: CostVector): Promise<boolean> {
    return this.#decide(this.#scripts.unpark, resource, (common) => ({ ...common, id, estimate }))
  }

  raise(resource: string, id: string): Promise<boolean> {
    return this.#decide(this.#scripts.raise, resource, (common) => ({ ...common, id }))
  }

  settle(resource: string, id: string, actual: CostVector, exact: boolean): Promise<boolean> {
    return this.#decide(this.#scripts.settle, resource, (common) => ({
      ...common,
      id,
      actual,
      exact,
    }))
  }

  release(resource: string, id: string): Promise<boolean> {
    return this.#decide(this.#scripts.release, resource, (common) => ({ ...common, id }))
  }

  revise(
    resource: string,
    id: string,
    estimate: CostVector,
    produced: number | null,
  ): Promise<boolean> {
    return this.#decide(this.#scripts.revise, resource, (common) => ({
      ...common,
      id,
      estimate,
      produced: produced ?? -1,
    }))
  }

  bounce(resource: string, id: string, bounce: Bounce): Promise<boolean> {
    return this.#decide(this.#scripts.bounce, resource, (common, { time }) => {
      const isRefusal = bounce.kind === 'rate_limited'
      return {
        ...common,
        id,
        why: bounce.kind,
        backoffMs: 'backoffMs' in bounce ? bounce.backoffMs : 0,
        retryAfterMs: isRefusal ? (bounce.retryAfterMs ?? -1) : -1,
        observed: isRefusal ? observedText(bounce.observation) : '[]',
        sentAt: time.toGate(isRefusal ? bounce.observation.sentAt : 0),
        estimate: bounce.kind === 'repriced' ? bounce.estimate : NOTHING,
      }
    })
  }

  async answered(resource: string, firstAnswerMs: number | null): Promise<void> {
    await this.#run(this.#scripts.answered, resource, (common) => ({
      ...common,
      firstAnswerMs: firstAnswerMs ?? -1,
    }))
  }

  async observe(resource: string, observation: Observation): Promise<void> {
    await this.#run(this.#scripts.observe, resource, (common, { time }) => ({
      ...common,
      observed: observedText(observation),
      sentAt: time.toGate(observation.sentAt),
    }))
  }

  async refused(resource: string, { retryAfterMs, observation }: LimitRefusal): Promise<void> {
    await this.#run(this.#scripts.refused, resource, (common, { time }) => ({
      ...common,
      retryAfterMs: retryAfterMs ?? -1,
      observed: observedText(observation),
      sentAt: time.toGate(observation.sentAt),
    }))
  }

  async pause(resource: string, until: EpochMs): Promise<void> {
    await this.#run(this.#scripts.pause, resource, (common, { time }) => ({
      ...common,
      pauseUntil: time.toGate(until),
    }))
  }

  async merge(from: string, into: string): Promise<void> {
    // Another process may have merged them the other way round: the answer tells.
    await this.#run(this.#scripts.pump, into, (common) => common)
    const source = this.#presentName(from)
    const target = this.#presentName(into)
    if (source === target) return
    const [own, { name }] = await this.#run(this.#scripts.mergeOut, source, (common, gate) => ({
      ...common,
      into: mergedInto(source, target, gate.name),
    }))
    this.#noteMerge(source, mergedInto(source, target, name))
    const tickets = textsOf(own[0] ?? [])
    const pairs = tickets.flatMap((id, index) =>
      index % 2 === 0 ? [[id, tickets[index + 1]]] : [],
    )
    if (pairs.length === 0) return
    await this.#run(this.#scripts.mergeIn, target, (common) => ({
      ...common,
      tickets: JSON.stringify(pairs),
    }))
  }

  renew(resource: string, holder: string, ttlMs: number): Promise<boolean> {
    return this.#decide(this.#scripts.renew, resource, (common) => ({
      ...common,
      holder,
      ttl: ttlMs,
    }))
  }

  async rejoin(
    resource: string,
    tickets: readonly OwnTicket[],
    spent: CostVector,
  ): Promise<readonly string[]> {
    const [own] = await this.#run(this.#scripts.rejoin, resource, (common, { time }) => ({
      ...common,
      tickets: JSON.stringify(tickets.map((ticket) => this.#described(ticket, time))),
      spent,
    }))
    return textsOf(own[0] ?? [])
  }

  async position(resource: string, id: string): Promise<Prediction | null> {
    const [own, gate] = await this.#run(this.#scripts.position, resource, (common) => ({
      ...common,
      id,
    }))
    return own.length === 0 ? null : predictionOf(own, gate.time, gate.settings.limits)
  }

  async beat(resource: string): Promise<Beat> {
    const [[own], snapshot, instances] = await Promise.all([
      this.#run(this.#scripts.renew, resource, (common) => ({
        ...common,
        holder: this.instance,
        ttl: this.#leaseMs,
      })),
      this.look(resource),
      this.#registry.instances(),
    ])
    const [isKnown, waiting, held] = own
    return {
      isKnown: isKnown === '1',
      waiting: numberOf(waiting ?? 0),
      held: numberOf(held ?? 0),
      instances,
      limits: snapshot?.limits ?? [],
    }
  }

  async owned(resource: string): Promise<readonly string[]> {
    const [own] = await this.#run(this.#scripts.owned, resource, (common) => ({
      ...common,
      holder: this.instance,
    }))
    return textsOf(own[0] ?? [])
  }

  async mine(resource: string, ids: readonly string[]): Promise<readonly string[]> {
    const [own] = await this.#run(this.#scripts.mine, resource, (common) => ({
      ...common,
      ids: JSON.stringify(ids),
    }))
    return textsOf(own[0] ?? [])
  }

  async snapshot(): Promise<readonly ResourceSnapshot[]> {
    const names = new Set(await this.#registry.resources())
    for (const { name } of this.#known.values()) names.add(name)
    const snapshots = await Promise.all([...names].map((name) => this.look(name)))
    // Those that were merged are the same one by now.
    const byName = new Map(snapshots.flatMap((one) => (one ? [[one.name, one] as const] : [])))
    return [...byName.values()]
  }

  async look(resource: string): Promise<ResourceSnapshot | null> {
    const [own, gate] = await this.#run(this.#scripts.snapshot, resource, (common) => common)
    return own.length === 0 ? null : snapshotOf(own, gate)
  }

  async ticket(resource: string, id: string): Promise<TicketView | null> {
    const [own, { time }] = await this.#run(this.#scripts.ticket, resource, (common) => ({
      ...common,
      id,
    }))
    return own.length === 0 ? null : ticketViewOf(own, time)
  }

  /** Where there are more than `most`, it is any of them that are told of. */
  async tickets(resource: string, most: number): Promise<readonly TicketView[]> {
    const [own, { time }] = await this.#run(this.#scripts.tickets, resource, (common) => ({
      ...common,
      most,
    }))
    return listOf(own[0] ?? []).map((ticket) => ticketViewOf(ticket, time))
  }

  /** A gate is told with the next operation on it, so each has one now. */
  reconfigure(): void {
    this.#revision = Math.max(this.#time.toGate(this.#clock.now()), this.#revision + 1)
    for (const gate of this.#known.values()) {
      gate.settings = this.#settingsOf(gate.name)
      if (gate.life !== null) this.#wake(gate)
    }
  }

  async probe(): Promise<void> {
    if (!this.#connection.isReachable) throw new StoreUnreachable('pushes cannot be heard yet')
    const key = probeKey(this.#connection.prefix, this.instance)
    await this.#connection.command('SET', key, '1', 'PX', String(PROBE_LIVES_MS))
  }

  /** Resolves when no operation is under way, those that timers have begun included. */
  async idle(): Promise<void> {
    while (this.#underway.size > 0) await Promise.allSettled(this.#underway)
  }

  async close(): Promise<void> {
    for (const { timer } of this.#known.values()) timer?.cancel()
    await this.idle()
    await this.#registry.leave().catch(ignoreUnreachable)
    await this.#connection.close()
  }

  /** Runs a script that answers yes or no. */
  async #decide<Args>(
    script: Script<Args>,
    resource: string,
    argsFor: ArgsFor<Args>,
  ): Promise<boolean> {
    const [own] = await this.#run(script, resource, argsFor)
    return own[0] === '1'
  }

  /** Runs an operation to its end. Its own part of the answer is empty where there is no such gate. */
  #run<Args>(
    script: Script<Args>,
    resource: string,
    argsFor: ArgsFor<Args>,
  ): Promise<readonly [Values, Acquaintance]> {
    const run = this.#runUntilAnswered(script, resource, argsFor)
    this.#underway.add(run)
    run.then(nothing, nothing).finally(() => this.#underway.delete(run))
    return run
  }

  /** Learns what time it is there, before the first gate is asked, and is counted from now on. */
  async #meetServer(): Promise<void> {
    const [seconds, micros] = listOf(await this.#connection.command('TIME'))
    const now = this.#clock.now()
    this.#time.heard(numberOf(seconds) * 1000 + numberOf(micros) / 1000, now)
    this.#revision = this.#time.toGate(now)
    await this.#registry.join()
  }

  async #runUntilAnswered<Args>(
    script: Script<Args>,
    resource: string,
    argsFor: ArgsFor<Args>,
  ): Promise<readonly [Values, Acquaintance]> {
    let gate = this.#meet(resource)
    let settings = gate.life === null ? settingsText(gate.settings, this.#clock.now()) : ''
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const answer = await this.#ask(script, gate, argsFor(this.#common(gate, settings), gate))
      switch (answer.kind) {
        case 'ok':
          this.#heed(gate, answer)
          return [answer.own, gate]
        case 'none':
          gate.life = null
          return [[], gate]
        case 'settings':
          settings = settingsText(gate.settings, answer.gateTime)
          break
        case 'merged':
          this.#noteMerge(gate.name, this.#presentName(answer.into))
          gate = this.#meet(resource)
          settings = gate.life === null ? settingsText(gate.settings, this.#clock.now()) : ''
      }
    }
    return await this.#beginAnew(gate, new Error('merges that lead in a circle'))
  }

  /**
   * A gate that its own operations cannot make sense of: its keys were changed by somebody else, or in
   * part thrown away. What every process has of its own, it brings to the new gate.
   *
   * @throws StoreUnreachable always: the state that the operation was for is gone.
   */
  async #beginAnew(gate: Acquaintance, cause: Error): Promise<never> {
    const now = this.#clock.now()
    if (now - gate.brokenAt > BROKEN_AT_MOST_EVERY_MS) {
      gate.brokenAt = now
      this.#failed(
        new Error(`the gate of ${gate.name} is broken and begins anew: ${cause.message}`),
      )
      await this.#connection.command('UNLINK', this.#keyOf(gate, 'state'))
      this.#mergedInto.delete(gate.name)
    }
    throw new StoreUnreachable(`the gate of ${gate.name} was broken`)
  }

  #keyOf(gate: Acquaintance, part: string): string {
    return keyOf(this.#connection.prefix, gate.name, part)
  }

  #common(gate: Acquaintance, settings: string): Common {
    const { instance } = this
    return { resource: gate.name, instance, revision: this.#revision, settings }
  }

  async #ask<Args>(script: Script<Args>, gate: Acquaintance, args: Args): Promise<Answer> {
    const keys = script.keys.map((part) => this.#keyOf(gate, part))
    let reply: unknown
    try {
      reply = await this.#connection.run(this.#program, script, keys, script.args(args))
    } catch (error) {
      if (error instanceof StoreUnreachable || !(error instanceof Error)) throw error
      return await this.#beginAnew(gate, new Error(`${script.name}: ${error.message}`))
    }
    const answer = parseAnswer(reply)
    if ('gateTime' in answer) gate.time.heard(answer.gateTime, this.#clock.now())
    return answer
  }

  /** Does what an answer asks for: tells of own tickets that were admitted, and keeps the promise to wake. */
  #heed(gate: Acquaintance, { gateTime, life, granted, wakeAt, isLook }: GateAnswer): void {
    gate.life = life
    if (isLook) return
    gate.usedAt = this.#clock.now()
    const grantedAt = gate.time.toLocal(gateTime)
    for (const id of granted) this.#tellGrant({ resource: gate.name, id, grantedAt })
    this.#setAlarm(gate, wakeAt)
    if (this.#registry.isDue(gate.listedAt)) {
      gate.listedAt = gate.usedAt
      this.#registry.list(gate.name).catch(ignoreUnreachable).catch(this.#failed)
    }
    this.#forgetUnused()
  }

  #setAlarm(gate: Acquaintance, wakeAt: EpochMs | null): void {
    const at = wakeAt === null ? null : gate.time.toLocal(wakeAt)
    gate.timer?.cancel()
    gate.timer = at === null ? null : this.#clock.schedule(at, () => this.#wake(gate))
  }

  /** Another process's sign of life wakes the gate when this one can't. */
  #wake(gate: Acquaintance): void {
    gate.timer?.cancel()
    gate.timer = null
    this.#run(this.#scripts.pump, gate.name, (common) => common)
      .catch(ignoreUnreachable)
      .catch(this.#failed)
  }

  #hearPush(message: string): void {
    const [name, gateTime, ids, what] = listOf(JSON.parse(message))
    const resource = textOf(name)
    const at = this.#meet(resource).time.toLocal(numberOf(gateTime))
    for (const id of textsOf(ids)) {
      if (what === 'lost') this.#tellLoss({ id, lostAt: at })
      else this.#tellGrant({ resource, id, grantedAt: at })
    }
  }

  #presentName(name: string): string {
    return this.#mergedInto.get(name) ?? name
  }

  /** Names that led to the one lead to the other from now on, so that one step is always enough. */
  #noteMerge(from: string, into: string): void {
    if (from === into || this.#mergedInto.get(from) === into) return
    for (const [name, present] of this.#mergedInto)
      if (present === from) this.#mergedInto.set(name, into)
    this.#mergedInto.set(from, into)
    this.#mergedInto.delete(into)
    this.#known.get(from)?.timer?.cancel()
    this.#known.delete(from)
    this.#tellMerge(from, into)
  }

  #meet(resource: string): Acquaintance {
    const name = this.#presentName(resource)
    const known = this.#known.get(name)
    if (known) return known
    const gate = new Acquaintance(name, this.#settingsOf(name), new ServerTime(this.#time))
    this.#known.set(name, gate)
    return gate
  }

  #holderOf(holder: Holder | null): { holder: string; holderTtl: number } {
    return { holder: holder?.id ?? this.instance, holderTtl: holder?.ttlMs ?? this.#leaseMs }
  }

  #described({ request, grantedAt, countedIn }: OwnTicket, time: ServerTime) {
    const { id, flow, weight, estimate, parked, place } = request
    const { holder, holderTtl } = this.#holderOf(request.holder)
    return {
      id,
      flow: flow.toWellFormed(),
      lane: LANES.indexOf(place?.lane ?? request.lane),
      weight,
      estimate,
      parked,
      holder,
      holder_ttl: holderTtl,
      place: place ? describedPlace(place, time) : undefined,
      granted_at: grantedAt === null ? undefined : time.toGate(grantedAt),
      counted_in: countedIn ?? undefined,
    }
  }

  #forgetUnused(): void {
    const unusedSince = this.#clock.now() - REMEMBERED_MS
    for (let count = 0; count < SWEPT_PER_OPERATION; count++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = this.#known.values()
        return
      }
      const { name, timer, usedAt } = next.value
      if (timer === null && usedAt < unusedSince) this.#known.delete(name)
    }
  }
}

/**
 * Where a gate goes that was to become another's part. Had somebody merged it before, the gate that
 * has it now is asked, and follows by its name: so whatever the order, merges never go in a circle.
 */
function mergedInto(source: string, target: string, asked: string): string {
  return asked === source || target < asked ? target : asked
}

function placementOf(own: Values, { time, settings }: Acquaintance): Placement {
  const [kind, ...rest] = own
  switch (kind) {
    case 'admitted':
      return { kind }
    case 'waiting':
      return { kind, ...predictionOf(rest, time, settings.limits) }
    default: {
      const [reason, ...prediction] = rest
      return {
        kind: 'refused',
        reason: reason === 'queue_full' ? reason : 'wait_too_long',
        ...predictionOf(prediction, time, settings.limits),
      }
    }
  }
}

function snapshotOf(own: Values, { name, time, settings }: Acquaintance): ResourceSnapshot {
  const [inFlight, queued, nextAt, boundBy, pausedUntil, concurrencyLimit, oldest, limits] = own
  const localOrNull = (value: unknown): EpochMs | null => {
    const at = numberOrNull(value)
    return at === null ? null : time.toLocal(at)
  }
  return {
    name,
    inFlight: numberOf(inFlight),
    queued: numberOf(queued),
    nextAt: localOrNull(nextAt),
    boundBy: bindingOf(boundBy, settings.limits),
    pausedUntil: localOrNull(pausedUntil),
    concurrencyLimit: numberOrNull(concurrencyLimit),
    oldestEnqueuedAt: localOrNull(oldest),
    limits: listOf(limits).map(limitSnapshotOf),
  }
}

function describedPlace({ enqueuedAt, laneSince, startTag }: Place, time: ServerTime) {
  return {
    enqueued_at: time.toGate(enqueuedAt),
    lane_since: time.toGate(laneSince),
    start_tag: Number.isFinite(startTag) ? startTag : undefined,
  }
}

/** What `lib/limits.lua` takes in: names as Lua writes them, and nothing where nothing is known. */
function observedText({ limits }: Observation): string {
  return JSON.stringify(
    limits.map(({ dimension, amount, remaining, roundedBy, fullInMs, fullInErrorMs }) => ({
      dimension,
      amount,
      remaining,
      rounded_by: roundedBy,
      full_in_ms: fullInMs ?? undefined,
      full_in_error_ms: fullInErrorMs,
    })),
  )
}

/** What is lost by it is made good elsewhere: by the next beat, or by another process. */
function ignoreUnreachable(error: unknown): void {
  if (!(error instanceof StoreUnreachable)) throw error
}

const nothing = (): void => {}
