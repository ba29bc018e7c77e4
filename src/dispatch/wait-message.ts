// A wait in words. Owns: the sentence that says which limit binds, whose, and when it frees.

import type { Binding, Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'

const OPENINGS = {
  queue_full: 'The line is full',
  wait_too_long: 'The wait would be longer than this request may wait',
  waited_out: 'The wait was longer than this request may wait',
} as const

/** One sentence for the caller who is refused. */
export function describeWait(
  reason: keyof typeof OPENINGS,
  resource: string,
  prediction: Prediction | null,
  now: EpochMs,
): string {
  const parts = [`Headgate: ${OPENINGS[reason]}`]
  if (prediction) {
    parts.push(`${prediction.position} ahead in the line for ${resource}`)
    if (prediction.boundBy) parts.push(`bound by ${describeBinding(prediction.boundBy)}`)
    if (Number.isFinite(prediction.expectedAt))
      parts.push(`its turn is expected in ${describeSeconds(prediction.expectedAt - now)}`)
  }
  return `${parts.join('; ')}.`
}

export function describeBinding(binding: Binding): string {
  switch (binding.kind) {
    case 'limit':
      return describeLimit(binding.limit)
    case 'paused':
      return 'a pause that the provider asked for'
    case 'ramp':
      return 'a slow start'
    case 'overload':
      return 'the provider being overloaded'
  }
}

/** A limit, as it is or as a snapshot shows it. */
export function describeLimit(limit: {
  readonly amount: number
  readonly dimension: string
  readonly windowMs?: number | null
}): string {
  const { amount, dimension, windowMs = null } = limit
  return windowMs === null
    ? `${amount} at once`
    : `${amount} ${dimension} per ${describeSeconds(windowMs)}`
}

function describeSeconds(ms: number): string {
  return `${Math.max(0, Math.ceil(ms / 1000))} s`
}
