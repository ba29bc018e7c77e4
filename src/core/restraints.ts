// What holds the head of a line back: pauses, the ramp, limits, the bound on load. Owns: the order of
// these checks, and what the provider's answers do to them. Must not know: tickets, whose turn it is.
import { AdaptiveConcurrency } from './adaptive-concurrency.ts'
import type { Binding, LimitRefusal, Prediction } from './admission.ts'
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import type { LimitStack } from './limit-stack.ts'
import type { Backlog } from './line.ts'
import type { Observation } from './observation.ts'
import { AFTER_REFUSAL, COLD_START, Ramp } from './ramp.ts'
import type { Underway } from './underway.ts'

/** A pause that the provider gave no length for: doubled at each refusal in a row, up to the most. */
const FIRST_PAUSE_MS = 1000
const LONGEST_GUESSED_PAUSE_MS = 60_000
const LONGEST_PAUSE_MS = 3_600_000

const NEVER = Number.POSITIVE_INFINITY

export class Restraints {
  readonly #limits: LimitStack
  readonly #underway: Underway | null
  readonly #ramp = new Ramp()
  readonly #concurrency = new AdaptiveConcurrency()
  #pausedUntil: EpochMs = Number.NEGATIVE_INFINITY
  #refusedInARow = 0
  /** When the provider's limits were heard of for the first time. */
  #knownSince: EpochMs = NEVER
  #refusedAt: EpochMs = Number.NEGATIVE_INFINITY
  #boundBy: Binding | null = null

  /** @param underway what the provider may not have counted yet; null where nothing is learnt. */
  constructor(limits: LimitStack, underway: Underway | null) {
    this.#limits = limits
    this.#underway = underway
    if (underway) this.#ramp.start(COLD_START)
  }

  /** What the last `readyAt` waited for; null when for nothing, or when nobody is in line. */
  get boundBy(): Binding | null {
    return this.#boundBy
  }

  get pausedUntil(): EpochMs {
    return this.#pausedUntil
  }

  /** How many an overloaded provider is believed to bear at once; Infinity while it shows no strain. */
  get concurrencyLimit(): number {
    return this.#concurrency.limit
  }

  /** Whether nothing would be lost by forgetting all of this but the limits. */
  isIdle(now: EpochMs): boolean {
    return this.#pausedUntil <= now && !this.#concurrency.remembers(now)
  }

  /** When a cost could pass now if it were at the head, beside so many leases. */
  readyAt(cost: CostVector, held: number, now: EpochMs): EpochMs {
    let readyAt = now
    this.#boundBy = null
    if (this.#pausedUntil > readyAt) {
      readyAt = this.#pausedUntil
      this.#boundBy = { kind: 'paused' }
    }
    if (!this.#ramp.isOpen) {
      const rampAt = this.#ramp.readyAt(now)
      if (rampAt > readyAt) {
        readyAt = rampAt
        this.#boundBy = { kind: 'ramp' }
      }
    }
    const limitsAt = this.#limits.readyAt(cost, now)
    const limit = this.#limits.boundBy
    if (limitsAt > readyAt && limit) {
      readyAt = limitsAt
      this.#boundBy = { kind: 'limit', limit }
    }
    if (!this.#concurrency.admits(held)) {
      readyAt = NEVER
      this.#boundBy = { kind: 'overload' }
    }
    return readyAt
  }

  /** Asks each limit when it could bear a cost and all that goes before it. */
  predict(ahead: Backlog, cost: CostVector, now: EpochMs): Prediction {
    const paused = Math.max(this.#pausedUntil, this.#ramp.readyAt(now))
    const { at, limit } = this.#limits.readyInLongRun(ahead, cost, now)
    const expectedAt = Math.max(paused, at)
    const position = Math.round(ahead.tickets)
    if (limit && at > paused) return { position, expectedAt, boundBy: { kind: 'limit', limit } }
    if (this.#pausedUntil > now) return { position, expectedAt, boundBy: { kind: 'paused' } }
    // No amount is short. What binds the head of the line binds this one too.
    const untilEvent = endsByEvent(this.#boundBy)
    return { position, expectedAt: untilEvent ? NEVER : expectedAt, boundBy: this.#boundBy }
  }

  /** There is no head to hold back. */
  bindNobody(): void {
    this.#boundBy = null
  }

  admitted(now: EpochMs): void {
    this.#ramp.admitted(now)
  }

  answered(firstAnswerMs: number | null, now: EpochMs): void {
    this.#refusedInARow = 0
    this.#ramp.succeeded()
    this.#concurrency.succeeded(firstAnswerMs, now)
  }

  /** @param held leases when it happened, the one that met it among them. */
  overloaded(held: number, now: EpochMs): void {
    this.#concurrency.overloaded(held, now)
  }

  /** An earlier pause is never shortened. */
  pause(until: EpochMs, now: EpochMs): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, Math.min(until, now + LONGEST_PAUSE_MS))
  }

  refused({ retryAfterMs, observation }: LimitRefusal, now: EpochMs): void {
    const knownSince = this.#knownSince
    this.observe(observation, now)
    const guessed = FIRST_PAUSE_MS * 2 ** Math.min(this.#refusedInARow, 6)
    // No wait at all is no answer to go by: taken at its word, it would be asked again at once, for ever.
    const pauseMs = retryAfterMs || Math.min(guessed, LONGEST_GUESSED_PAUSE_MS)
    this.pause(now + pauseMs, now)
    this.#ramp.start(AFTER_REFUSAL)
    // Requests that left before the last refusal was known bring no news when they are refused too.
    if (observation.sentAt <= this.#refusedAt) return
    this.#refusedAt = now
    this.#refusedInARow++
    // Whatever left before its limits were known could not respect them.
    if (observation.sentAt >= knownSince) this.#limits.surprised(now)
  }

  observe({ limits, sentAt }: Observation, now: EpochMs): void {
    if (!this.#underway) return
    const isNews = this.#limits.fuse(limits, sentAt, this.#underway, now)
    if (isNews) this.#knownSince = Math.min(this.#knownSince, now)
    if (isNews && this.#refusedAt === Number.NEGATIVE_INFINITY) this.#ramp.open()
  }
}

/** Whether only a lease that ends can unbind, so that no instant can be foretold. */
function endsByEvent(binding: Binding | null): boolean {
  if (binding?.kind === 'limit') return binding.limit.algorithm === 'concurrency'
  return binding?.kind === 'overload'
}
