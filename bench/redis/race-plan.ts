// What the race is about: one resource, its stack of limits, and what callers ask of it. Owns: the
// limits and the four phases, each bound by another of them. Must not know: processes, checks.
import type { GateSettings } from '../../src/core/admission.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'

export const RESOURCE = 'race'
export const SLOTS = 16
export const CALLERS = 2
/** Short, so that much of it happens in a minute: what a dead process held is free after five beats. */
export const BEAT_MS = 500
export const LEASE_MS = 5 * BEAT_MS
/** The emulator answers so many times as slowly while slots are what is short. */
export const SLOW_FACTOR = 20

const REQUESTS_A_SECOND = 50
const INPUT_A_SECOND = 12_000
const OUTPUT_A_SECOND = 2000
/** The burst of each bucket, in seconds of its refill. */
const BURST_S = 0.5

export const PHASES = ['requests', 'input', 'output', 'slots'] as const
export type Phase = (typeof PHASES)[number]

/** What a worker process is started with, as JSON. */
export interface WorkerPlan {
  readonly name: string
  readonly redisPort: number
  readonly providerUrl: string
  readonly seconds: number
}

/** When the race begins, on the machine's clock: workers that are ready are told. */
export interface Start {
  readonly startAt: number
}

export const windowMsOf = (seconds: number): number => (seconds * 1000) / 10

/** Two sliding windows, two buckets and slots; a phase's own limit binds, all others are checked. */
export function limitsFor(seconds: number): readonly Limit[] {
  const windowMs = windowMsOf(seconds)
  const source = 'configured'
  const sliding = { algorithm: 'sliding_window', windowMs, source } as const
  const bucket = { algorithm: 'token_bucket', windowMs: 1000, source } as const
  return [
    { ...sliding, dimension: 'requests', amount: (REQUESTS_A_SECOND * windowMs) / 1000 },
    { ...sliding, dimension: 'input_tokens', amount: (INPUT_A_SECOND * windowMs) / 1000 },
    {
      ...bucket,
      dimension: 'output_tokens',
      amount: OUTPUT_A_SECOND,
      burst: OUTPUT_A_SECOND * BURST_S,
    },
    {
      ...bucket,
      dimension: 'requests',
      amount: REQUESTS_A_SECOND * 1.5,
      burst: REQUESTS_A_SECOND * BURST_S,
    },
    { algorithm: 'concurrency', dimension: 'concurrency', amount: SLOTS, source },
  ]
}

export function settingsFor(seconds: number): GateSettings {
  return {
    limits: limitsFor(seconds),
    learns: false,
    agingMs: 1000,
    maxQueued: 10_000,
    floors: { soft: 0, hard: 0 },
  }
}

export function phaseAt(at: number, { startAt, seconds }: WorkerPlan & Start): Phase | null {
  const index = Math.floor(((at - startAt) / 1000 / seconds) * PHASES.length)
  return PHASES[Math.max(0, index)] ?? null
}

export interface Task {
  readonly words: number
  readonly outputTokens: number
}

/** Sizes are drawn, so that what is at the head fits now and then and now and then does not. */
export function taskFor(phase: Phase, random: () => number): Task {
  const between = (least: number, most: number): number =>
    Math.round(least + random() * (most - least))
  switch (phase) {
    case 'requests':
      return { words: between(20, 60), outputTokens: between(2, 6) }
    case 'input':
      return { words: between(100, 400), outputTokens: between(2, 6) }
    case 'output':
      return { words: between(20, 60), outputTokens: between(20, 140) }
    case 'slots':
      return { words: between(20, 60), outputTokens: between(2, 6) }
  }
}

/** What the emulator counts beside the words: the message around them, and the marker. */
const OVERHEAD_TOKENS = 19

/** Never less than the actual cost, which comes later; half of them exact, half up to a third too high. */
export function estimateOf({ words, outputTokens }: Task, random: () => number): CostVector {
  const factor = random() < 0.5 ? 1 : 1 + random() / 3
  return costOf({
    input_tokens: Math.ceil((words + OVERHEAD_TOKENS) * factor),
    output_tokens: Math.ceil(outputTokens * factor),
  })
}
