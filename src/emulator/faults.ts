// What can go wrong on demand. Owns: the table of faults, their rates, the choice for one request.
// Must not know: how a fault is played out.
import { z } from 'zod'
import type { Clock, EpochMs } from '../core/clock.ts'

/**
 * Every fault: its name in a marker (`[[emulate fault=hang]]`), and the rate that makes a share of
 * all message requests meet it. These strike before admission, so that they cost no quota.
 */
export const DOOR_FAULTS = {
  overload: 'overloadRate',
  'server-error': 'serverErrorRate',
  'connection-reset': 'connectionResetRate',
  'ramp-limit': 'rampLimitRate',
  'spend-limit': 'spendLimitRate',
} as const

/** These strike a request that has been admitted and charged. */
export const ANSWER_FAULTS = {
  hang: 'hangRate',
  garbage: 'garbageRate',
  'reset-mid-stream': 'resetMidStreamRate',
  'stream-error': 'streamErrorRate',
} as const

/** These strike single requests of a batch: one fails, or its turn does not come before the batch expires. */
export const BATCH_FAULTS = {
  'batch-error': 'batchErrorRate',
  'batch-expiry': 'batchExpiryRate',
} as const

export type DoorFault = keyof typeof DOOR_FAULTS
export type AnswerFault = keyof typeof ANSWER_FAULTS
export type BatchFault = keyof typeof BATCH_FAULTS
export type FaultName = DoorFault | AnswerFault | BatchFault

type FaultRate =
  | (typeof DOOR_FAULTS)[DoorFault]
  | (typeof ANSWER_FAULTS)[AnswerFault]
  | (typeof BATCH_FAULTS)[BatchFault]

export interface FaultSettings extends Readonly<Record<FaultRate, number>> {
  /** Everything is answered 529 for so long from the moment this is set. Real time. */
  readonly overloadForMs: number
  /** First token and generation take so many times as long. */
  readonly slowFactor: number
}

export const NO_FAULTS: FaultSettings = {
  overloadRate: 0,
  serverErrorRate: 0,
  connectionResetRate: 0,
  rampLimitRate: 0,
  spendLimitRate: 0,
  hangRate: 0,
  garbageRate: 0,
  resetMidStreamRate: 0,
  streamErrorRate: 0,
  batchErrorRate: 0,
  batchExpiryRate: 0,
  overloadForMs: 0,
  slowFactor: 1,
}

const rate = z.exactOptional(z.number().min(0).max(1))

/** A change of some faults: what is not named stays as it was. */
export const faultChanges = z.strictObject({
  overloadRate: rate,
  serverErrorRate: rate,
  connectionResetRate: rate,
  rampLimitRate: rate,
  spendLimitRate: rate,
  hangRate: rate,
  garbageRate: rate,
  resetMidStreamRate: rate,
  streamErrorRate: rate,
  batchErrorRate: rate,
  batchExpiryRate: rate,
  overloadForMs: z.exactOptional(z.number().min(0)),
  slowFactor: z.exactOptional(z.number().positive()),
})

export type FaultChanges = z.output<typeof faultChanges>

export function isDoorFault(name: string): name is DoorFault {
  return Object.hasOwn(DOOR_FAULTS, name)
}

export function isBatchFault(name: string): name is BatchFault {
  return Object.hasOwn(BATCH_FAULTS, name)
}

function isMessageFault(name: string): name is DoorFault | AnswerFault {
  return isDoorFault(name) || Object.hasOwn(ANSWER_FAULTS, name)
}

export function isFault(name: string): name is FaultName {
  return isMessageFault(name) || isBatchFault(name)
}

/** Faults with their rates, in the order in which they share one draw. */
const MESSAGE_RATES = Object.entries({ ...DOOR_FAULTS, ...ANSWER_FAULTS })
const BATCH_RATES = Object.entries(BATCH_FAULTS)

/** The faults in force. */
export class FaultPlan {
  readonly #clock: Clock
  readonly #random: () => number
  #settings: FaultSettings
  #overloadUntilAt: EpochMs

  constructor(settings: FaultSettings, clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
    this.#settings = settings
    this.#overloadUntilAt = clock.now() + settings.overloadForMs
  }

  get settings(): FaultSettings {
    return this.#settings
  }

  change(changes: FaultChanges): void {
    this.#settings = { ...this.#settings, ...changes }
    if (changes.overloadForMs !== undefined) {
      this.#overloadUntilAt = this.#clock.now() + changes.overloadForMs
    }
  }

  /** The fault that the next message meets, or null. At most one: their rates add up. */
  draw(): DoorFault | AnswerFault | null {
    if (this.#clock.now() < this.#overloadUntilAt) return 'overload'
    const name = this.#drawFrom(MESSAGE_RATES)
    return isMessageFault(name) ? name : null
  }

  /** The fault that the next request of a batch meets, or null. */
  drawForBatch(): BatchFault | null {
    const name = this.#drawFrom(BATCH_RATES)
    return isBatchFault(name) ? name : null
  }

  /** The name of a fault, or nothing. */
  #drawFrom(rates: readonly (readonly [name: string, rate: FaultRate])[]): string {
    let left = this.#random()
    for (const [name, rateName] of rates) {
      left -= this.#settings[rateName]
      if (left < 0) return name
    }
    return ''
  }
}
