// What may be logged. Owns: the events, with their fields, and what of a value is written. Must not
// know: where lines go. Nothing else reaches a log, so neither prompts nor secrets can.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

interface RequestFacts {
  readonly id: string
  readonly resource: string
  readonly flow: string
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
    fields: ['status', ...REQUEST, 'outcome', 'inputTokens', 'outputTokens'],
  },
  'request.refused': { level: 'warn', fields: ['reason', ...REQUEST, 'retryAfterMs'] },
  'request.cancelled': { level: 'info', fields: REQUEST },
  'request.bounced': { level: 'info', fields: ['reason', 'status', ...REQUEST] },
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
  for (const field of SHAPES[event.kind].fields) line[field] = written(given[field])
  return line
}

const LONGEST_TEXT = 120
/** Callers choose some texts (model, flow), and may paste what they should not. */
const LOOKS_SECRET = /\b(?:sk|pk)-|\bbearer\b/i

function written(value: unknown): Written {
  if (typeof value === 'number') return Math.round(value * 1000) / 1000
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
