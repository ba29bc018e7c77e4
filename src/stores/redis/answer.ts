// What scripts answer. Owns: taking an answer apart. Must not know: which operation it is the answer to.
import type { Binding, LimitSnapshot, Prediction } from '../../core/admission.ts'
import type { EpochMs } from '../../core/clock.ts'
import type { Dimension } from '../../core/cost.ts'
import { LANES } from '../../core/lane.ts'
import type { Limit, LimitSource } from '../../core/limit.ts'
import type { TicketView } from '../../core/ticket.ts'
import type { ServerTime } from './server-time.ts'

/** A script and this file disagree about its answer: they are of different versions. */
class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer'

  constructor(what: string, value: unknown) {
    super(`the store answered ${JSON.stringify(value)} where ${what} was expected`)
  }
}

export type Values = readonly unknown[]

export function listOf(value: unknown): Values {
  if (!Array.isArray(value)) throw new UnreadableAnswer('a list', value)
  return value
}

export function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new UnreadableAnswer('a text', value)
  return value
}

export const textsOf = (value: unknown): readonly string[] => listOf(value).map(textOf)

export function numberOf(value: unknown): number {
  if (typeof value === 'number') return value
  const text = textOf(value)
  if (text === 'inf') return Number.POSITIVE_INFINITY
  const number = text === '' ? Number.NaN : Number(text)
  if (Number.isNaN(number)) throw new UnreadableAnswer('a number', value)
  return number
}

export const numberOrNull = (value: unknown): number | null =>
  value === '' ? null : numberOf(value)

/** What every operation says of its gate, and the operation's own part. */
export interface GateAnswer {
  readonly gateTime: EpochMs
  readonly life: string
  /** When this process is to pump next, by the gate's time; null for never, or when another one is to. */
  readonly wakeAt: EpochMs | null
  /** Whether the operation only looked, and all of that is as it was. */
  readonly isLook: boolean
  readonly granted: readonly string[]
  readonly own: Values
}

export type Answer =
  | ({ readonly kind: 'ok' } & GateAnswer)
  /** The gate needs the settings, made for this time of its clock. */
  | { readonly kind: 'settings'; readonly gateTime: EpochMs }
  | { readonly kind: 'merged'; readonly into: string }
  | { readonly kind: 'none' }

export function parseAnswer(reply: unknown): Answer {
  const [status, ...rest] = listOf(reply)
  switch (status) {
    case 'ok': {
      const [gateTime, life, wakeAt, granted, ...own] = rest
      return {
        kind: 'ok',
        gateTime: numberOf(gateTime),
        life: textOf(life),
        wakeAt: wakeAt === '-' ? null : numberOrNull(wakeAt),
        isLook: wakeAt === '-',
        granted: textsOf(granted),
        own,
      }
    }
    case 'settings':
      return { kind: 'settings', gateTime: numberOf(rest[0]) }
    case 'merged':
      return { kind: 'merged', into: textOf(rest[0]) }
    case 'none':
      return { kind: 'none' }
    default:
      throw new UnreadableAnswer('a status', status)
  }
}

/** Position, expected instant and binding, in this order. */
export function predictionOf(
  values: Values,
  time: ServerTime,
  configured: readonly Limit[],
): Prediction {
  const [position, expectedAt, binding] = values
  return {
    position: numberOf(position),
    expectedAt: time.toLocal(numberOf(expectedAt)),
    boundBy: bindingOf(binding, configured),
  }
}

/** @param configured this process's own limits: a binding one among them is given as it stands there. */
export function bindingOf(value: unknown, configured: readonly Limit[]): Binding | null {
  const [kind, ...limit] = listOf(value)
  switch (kind) {
    case '':
      return null
    case 'paused':
    case 'ramp':
    case 'overload':
      return { kind }
    case 'limit':
      return { kind, limit: limitOf(limit, configured) }
    default:
      throw new UnreadableAnswer('a binding', kind)
  }
}

function limitOf(values: Values, configured: readonly Limit[]): Limit {
  const [dimensionName, algorithm, amountText, windowText, capacityText, sourceName] = values
  const dimension = dimensionOf(dimensionName)
  const amount = numberOf(amountText)
  const source = sourceOf(sourceName)
  if (algorithm === 'concurrency' || dimension === 'concurrency')
    return { algorithm: 'concurrency', dimension: 'concurrency', amount, source }
  const windowMs = numberOf(windowText)
  const burst = numberOf(capacityText)
  const known = configured.find(
    (limit) =>
      limit.source === source &&
      limit.algorithm === algorithm &&
      limit.dimension === dimension &&
      limit.amount === amount &&
      'windowMs' in limit &&
      limit.windowMs === windowMs &&
      (limit.algorithm !== 'token_bucket' || (limit.burst ?? amount) === burst),
  )
  if (known) return known
  const limit = { dimension, amount, windowMs, source }
  switch (algorithm) {
    case 'token_bucket':
      return { algorithm, ...limit, ...(burst === amount ? {} : { burst }) }
    case 'sliding_window':
    case 'fixed_window':
      return { algorithm, ...limit }
    default:
      throw new UnreadableAnswer('an algorithm', algorithm)
  }
}

/** What `view_of` in lib/gate.lua shows of a ticket. */
export function ticketViewOf(value: unknown, time: ServerTime): TicketView {
  const [id, flow, lane, requests, input, output, tokens, cost, ...instants] = listOf(value)
  const [enqueuedAt, grantedAt, expiresAt] = instants
  const granted = numberOrNull(grantedAt)
  return {
    id: textOf(id),
    state: granted === null ? 'waiting' : 'held',
    flow: textOf(flow),
    lane: LANES[numberOf(lane)] ?? 'low',
    estimate: {
      requests: numberOf(requests),
      input_tokens: numberOf(input),
      output_tokens: numberOf(output),
      tokens: numberOf(tokens),
      cost: numberOf(cost),
    },
    enqueuedAt: time.toLocal(numberOf(enqueuedAt)),
    grantedAt: granted === null ? null : time.toLocal(granted),
    expiresAt: time.toLocal(numberOf(expiresAt)),
  }
}

export function limitSnapshotOf(value: unknown): LimitSnapshot {
  const [dimension, amount, windowMs, remaining, source, guard, others] = listOf(value)
  return {
    dimension: dimensionOf(dimension),
    amount: numberOf(amount),
    windowMs: numberOrNull(windowMs),
    remaining: numberOf(remaining),
    source: sourceOf(source),
    ...(guard !== undefined && { guard: numberOf(guard), othersPerMinute: numberOf(others) }),
  }
}

function dimensionOf(value: unknown): Dimension {
  switch (value) {
    case 'requests':
    case 'input_tokens':
    case 'output_tokens':
    case 'tokens':
    case 'cost':
    case 'concurrency':
      return value
    default:
      throw new UnreadableAnswer('a dimension', value)
  }
}

function sourceOf(value: unknown): LimitSource {
  if (value === 'configured' || value === 'learnt') return value
  throw new UnreadableAnswer('the source of a limit', value)
}
