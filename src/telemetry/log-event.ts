// What may be logged. Owns: the events, with their fields, and what of a value is written. Must not
// know: where lines go. Nothing else reaches a log, so neither prompts nor secrets can.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

interface RequestFacts {
  readonly id: string
  readonly resource: string
  readonly flow: string
  /** Who is charged, and by which tier's rules. */
  readonly user: string | null
  readonly tier: string | null
  readonly lane: string
  readonly model: string | null
  /** How often it was sent upstream. */
  readonly attempts: number
  readonly queuedMs: number
  readonly durationMs: number
}

interface RequestSettled extends RequestFacts {
  readonly kind: 'request.settled'
  readonly outcome: string
  readonly status: number | null
  readonly inputTokens: number
  readonly outputTokens: number
  /** Dollars; 0 where the price is not known. */
  readonly costUsd: number
}

interface RequestRefused extends RequestFacts {
  readonly kind: 'request.refused'
  readonly reason: string
  readonly retryAfterMs: number | null
}

/** The caller left while it waited. */
interface RequestCancelled extends RequestFacts {
  readonly kind: 'request.cancelled'
}

/** The provider said no, or could not be reached, and the request waits again. */
interface RequestBounced extends RequestFacts {
  readonly kind: 'request.bounced'
  readonly reason: string
  readonly status: number | null
}

/** A rule in shadow mode would have refused the request. */
interface RequestShadowed extends RequestFacts {
  readonly kind: 'request.shadowed'
  /** Which rule, and whose. */
  readonly rule: string
}

/** Refused before it became a request in line: its key, its path or its body was not acceptable. */
interface RequestTurnedAway {
  readonly kind: 'request.turned_away'
  readonly reason: string
}

/** A budget has passed one of its steps, for the first time in its period. */
interface BudgetWarned {
  readonly kind: 'budget.warned'
  /** `user:alice`. */
  readonly subject: string
  /** Per cent. */
  readonly step: number
  readonly spentUsd: number
  readonly amountUsd: number
  /** `hour`, `day` or `month`. */
  readonly period: string
  /** `enforced` or `shadow`. */
  readonly mode: string
}

/** Spending cannot be written down. */
interface LedgerUnavailable {
  readonly kind: 'ledger.unavailable'
  readonly why: string
}

interface LedgerReturned {
  readonly kind: 'ledger.returned'
  readonly afterMs: number
  /** Records that are still to be written. */
  readonly pending: number
}

/** What a process that died had set aside was charged. */
interface LedgerRecovered {
  readonly kind: 'ledger.recovered'
  readonly requests: number
  readonly costUsd: number
}

/** The configuration file has changed, and is in force. */
interface PolicyReloaded {
  readonly kind: 'policy.reloaded'
  readonly file: string
}

interface LimitsLearnt {
  readonly kind: 'limits.learnt'
  readonly resource: string
  readonly dimension: string
  readonly amount: number
  readonly windowMs: number
}

interface ResourcePaused {
  readonly kind: 'resource.paused'
  readonly resource: string
  readonly pausedMs: number
}

interface UpstreamFailed {
  readonly kind: 'upstream.failed'
  readonly provider: string
  /** `unreachable`, `timeout` or `broken`. */
  readonly failure: string
}

/** A shared store is out of reach. */
interface StoreDegraded {
  readonly kind: 'store.degraded'
  /** What is done meanwhile: `degrade`, `open` or `closed`. */
  readonly policy: string
  readonly why: string
  /** How many gateways shared it. */
  readonly instances: number
}

interface StoreReturned {
  readonly kind: 'store.returned'
  readonly afterMs: number
  readonly resources: number
  /** Calls that were brought back to it, waiting or under way. */
  readonly rejoined: number
}

interface GateListening {
  readonly kind: 'gate.listening'
  readonly url: string
  readonly store: string
}

interface GateStopping {
  readonly kind: 'gate.stopping'
  readonly signal: string
  readonly inFlight: number
  readonly queued: number
}

interface GateStopped {
  readonly kind: 'gate.stopped'
}

export type LogEvent =
  | RequestSettled
  | RequestRefused
  | RequestCancelled
  | RequestBounced
  | RequestShadowed
  | RequestTurnedAway
  | BudgetWarned
  | LedgerUnavailable
  | LedgerReturned
  | LedgerRecovered
  | PolicyReloaded
  | LimitsLearnt
  | ResourcePaused
  | UpstreamFailed
  | StoreDegraded
  | StoreReturned
  | GateListening
  | GateStopping
  | GateStopped

const REQUEST = [
  'id',
  'resource',
  'flow',
  'user',
  'tier',
  'lane',
  'model',
  'attempts',
  'queuedMs',
  'durationMs',
] as const

interface Shape<E extends LogEvent> {
  readonly level: Exclude<LogLevel, 'silent'>
  readonly fields: readonly Exclude<keyof E, 'kind'>[]
}

/** The level of each event, and its fields in the order in which they are written. */
const SHAPES: { readonly [K in LogEvent['kind']]: Shape<Extract<LogEvent, { kind: K }>> } = {
  'request.settled': {
    level: 'info',
    fields: ['status', ...REQUEST, 'outcome', 'inputTokens', 'outputTokens', 'costUsd'],
  },
  'request.refused': { level: 'warn', fields: ['reason', ...REQUEST, 'retryAfterMs'] },
  'request.cancelled': { level: 'info', fields: REQUEST },
  'request.bounced': { level: 'info', fields: ['reason', 'status', ...REQUEST] },
  'request.shadowed': { level: 'info', fields: ['rule', ...REQUEST] },
  'request.turned_away': { level: 'warn', fields: ['reason'] },
  'budget.warned': {
    level: 'warn',
    fields: ['subject', 'step', 'spentUsd', 'amountUsd', 'period', 'mode'],
  },
  'ledger.unavailable': { level: 'error', fields: ['why'] },
  'ledger.returned': { level: 'warn', fields: ['afterMs', 'pending'] },
  'ledger.recovered': { level: 'warn', fields: ['requests', 'costUsd'] },
  'policy.reloaded': { level: 'info', fields: ['file'] },
  'limits.learnt': { level: 'info', fields: ['resource', 'dimension', 'amount', 'windowMs'] },
  'resource.paused': { level: 'warn', fields: ['resource', 'pausedMs'] },
  'upstream.failed': { level: 'warn', fields: ['provider', 'failure'] },
  'store.degraded': { level: 'warn', fields: ['policy', 'why', 'instances'] },
  'store.returned': { level: 'info', fields: ['afterMs', 'resources', 'rejoined'] },
  'gate.listening': { level: 'info', fields: ['url', 'store'] },
  'gate.stopping': { level: 'info', fields: ['signal', 'inFlight', 'queued'] },
  'gate.stopped': { level: 'info', fields: [] },
}

export function levelOf(event: LogEvent): Exclude<LogLevel, 'silent'> {
  return SHAPES[event.kind].level
}

type Written = string | number | null

/** The line of an event: its named fields, whatever else the object carries. */
export function lineOf(event: LogEvent): Record<string, Written> {
  const line: Record<string, Written> = { event: event.kind }
  const given: Readonly<Record<string, unknown>> = { ...event }
  for (const field of SHAPES[event.kind].fields)
    line[field] = written(given[field], /Usd$/.test(field) ? NANO : MILLI)
  return line
}

/** How finely numbers are written: money to the nano-dollar. */
const MILLI = 1e3
const NANO = 1e9

const LONGEST_TEXT = 120
/** Callers choose some texts (model, flow), and may paste what they should not. */
const LOOKS_SECRET = /\b(?:sk|pk)-|\bbearer\b/i

function written(value: unknown, parts: number): Written {
  if (typeof value === 'number') return Math.round(value * parts) / parts
  if (typeof value !== 'string') return null
  return LOOKS_SECRET.test(value) ? '(hidden)' : value.slice(0, LONGEST_TEXT)
}

const FRAMES = 8

/**
 * What is written of an error: its kind and where it happened. Never its message, since that of a
 * parser quotes the text it choked on.
 */
export function errorLine(error: unknown): Record<string, string | readonly string[] | null> {
  if (!(error instanceof Error)) return { error: typeof error, code: null, at: [] }
  const { name, message, stack = '' } = error
  const trace = stack.slice(stack.indexOf(message) + message.length)
  const at = trace.split('\n').filter((frame) => /^\s+at /.test(frame))
  const code = 'code' in error ? String(error.code).slice(0, LONGEST_TEXT) : null
  return { error: name, code, at: at.slice(0, FRAMES).map((frame) => frame.trim()) }
}
