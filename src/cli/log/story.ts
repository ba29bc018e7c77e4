// The log as a story for a person who watches: who waited how long, what was refused, what was
// learnt. Owns: the sentences. Must not know: how things come about.

import type { Binding } from '../../core/admission.ts'
import type { Clock } from '../../core/clock.ts'
import type { Settings } from '../../policy/settings.ts'
import type { Log, LogEvent } from '../../telemetry/log.ts'
import { errorLine, levelOf, lineOf } from '../../telemetry/log-event.ts'
import type { Output } from '../io.ts'
import type { Format, Paint } from '../terminal/paint.ts'
import { amountInWords, countOf, plain, spanInWords, windowInWords } from '../terminal/words.ts'
import type { WaitingLine } from './gate-watch.ts'

export interface StoryOptions {
  readonly level: Settings['log']['level']
  readonly output: Output
  readonly paint: Paint
  readonly clock: Clock
}

/** What a line begins with, at a glance. */
interface Mark {
  readonly sign: string
  readonly format: Format
}

const MARKS = {
  fine: { sign: '✓', format: 'green' },
  again: { sign: '↻', format: 'yellow' },
  bad: { sign: '✗', format: 'red' },
  gone: { sign: '–', format: 'dim' },
  news: { sign: '●', format: 'cyan' },
  waits: { sign: '…', format: 'yellow' },
} as const satisfies Record<string, Mark>

interface Line {
  readonly mark: Mark
  readonly text: string
}

/** Waits that are shorter are nobody's concern. */
const WORTH_TELLING_MS = 100

const LEVELS: readonly Settings['log']['level'][] = ['debug', 'info', 'warn', 'error', 'silent']

export class Story implements Log {
  readonly #options: StoryOptions

  constructor(options: StoryOptions) {
    this.#options = options
  }

  event(event: LogEvent): void {
    // Said once for all of them, when the gate began to stop.
    if (event.kind === 'request.refused' && event.reason === 'shutting_down') return
    this.#write(levelOf(event), lineFor(event))
  }

  /** Those who wait for one resource, and for what. */
  waiting({ name, queued, oldestEnqueuedAt, boundBy }: WaitingLine): void {
    const waitedMs = oldestEnqueuedAt === null ? 0 : this.#options.clock.now() - oldestEnqueuedAt
    const parts = [
      `${amountInWords(queued)} in line for ${plain(name)}`,
      `the oldest for ${spanInWords(waitedMs)}`,
      ...(boundBy ? [`held by ${bindingInWords(boundBy)}`] : []),
    ]
    this.#write('info', { mark: MARKS.waits, text: parts.join(', ') })
  }

  warn(sentence: string): void {
    this.#write('warn', { mark: MARKS.again, text: sentence })
  }

  error(what: string, error: unknown): void {
    const { error: kind, code, at } = errorLine(error)
    const name = code === null ? String(kind) : `${String(kind)} ${String(code)}`
    const where = Array.isArray(at) ? at.map((frame) => `\n           ${frame}`).join('') : ''
    this.#write('error', { mark: MARKS.bad, text: `${what} failed: ${name}${where}` })
  }

  flush(): void {}

  #write(level: Settings['log']['level'], { mark, text }: Line): void {
    const { level: least, output, paint, clock } = this.#options
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return
    const time = new Date(clock.now()).toTimeString().slice(0, 8)
    output.write(`${paint('dim', time)} ${paint(mark.format, mark.sign)} ${text}\n`)
  }
}

type EventOf<K extends LogEvent['kind']> = Extract<LogEvent, { kind: K }>

function lineFor(event: LogEvent): Line {
  switch (event.kind) {
    case 'request.settled':
      return settledLine(event)
    case 'request.refused':
      return { mark: MARKS.bad, text: refusedText(event) }
    case 'request.cancelled':
      return { mark: MARKS.gone, text: `${who(event)} · left the line${waited(event, 'after')}` }
    case 'request.bounced':
      return { mark: MARKS.again, text: `${who(event)} · ${bouncedText(event)}` }
    case 'request.shadowed':
      return {
        mark: MARKS.gone,
        text: `${who(event)} · passes, but not if ${plain(event.rule)} were enforced`,
      }
    case 'request.turned_away':
      return { mark: MARKS.bad, text: `turned away: ${event.reason.replaceAll('_', ' ')}` }
    case 'budget.warned':
      return { mark: MARKS.again, text: budgetText(event) }
    case 'ledger.unavailable':
      return { mark: MARKS.bad, text: `spending cannot be written down: ${plain(event.why)}` }
    case 'ledger.returned':
      return {
        mark: MARKS.news,
        text: `spending is written down again, after ${spanInWords(event.afterMs)}`,
      }
    case 'ledger.recovered': {
      const { requests, costUsd } = event
      const text = `${countOf(requests, 'request')} of a process that died charged: $${costUsd}`
      return { mark: MARKS.again, text }
    }
    case 'policy.reloaded':
      return { mark: MARKS.news, text: `${plain(event.file)} has changed and is in force` }
    case 'limits.learnt':
      return { mark: MARKS.news, text: learntText(event) }
    case 'resource.paused': {
      const { resource, pausedMs } = event
      const text = `the provider asks for a pause of ${spanInWords(pausedMs)} for ${plain(resource)}`
      return { mark: MARKS.again, text }
    }
    case 'upstream.failed':
      return { mark: MARKS.bad, text: `${event.provider}: ${event.failure}` }
    case 'store.degraded':
      return { mark: MARKS.bad, text: degradedText(event) }
    case 'store.returned':
      return { mark: MARKS.news, text: returnedText(event) }
    case 'gate.listening':
      return { mark: MARKS.news, text: `listening on ${event.url}` }
    case 'gate.stopping':
      return { mark: MARKS.news, text: stoppingText(event) }
    case 'gate.stopped':
      return { mark: MARKS.news, text: 'stopped' }
  }
}

/** The flow and model as the log may show them: `lineOf` hides what looks like a secret. */
function who(event: LogEvent): string {
  const { flow, model } = lineOf(event)
  const names = [flow, model].filter((name) => typeof name === 'string')
  return names.map(plain).join(' · ')
}

function waited({ queuedMs }: { readonly queuedMs: number }, word: string): string {
  return queuedMs < WORTH_TELLING_MS ? '' : ` ${word} ${spanInWords(queuedMs)}`
}

const OUTCOMES: Readonly<Record<string, { readonly mark: Mark; readonly said: string }>> = {
  answered: { mark: MARKS.fine, said: 'answered' },
  provider_error: { mark: MARKS.bad, said: 'the provider said no' },
  abandoned: { mark: MARKS.gone, said: 'the caller left during the answer' },
  broken: { mark: MARKS.bad, said: 'the answer broke off' },
}

function settledLine(event: EventOf<'request.settled'>): Line {
  const { outcome, status, queuedMs, durationMs, inputTokens, outputTokens, attempts } = event
  const { costUsd } = event
  const { mark, said } = OUTCOMES[outcome] ?? { mark: MARKS.gone, said: outcome }
  const code = status === null || status === 200 ? '' : ` (${status})`
  const parts = [
    ...(queuedMs < WORTH_TELLING_MS ? [] : [`waited ${spanInWords(queuedMs)}`]),
    `${said}${code} after ${spanInWords(durationMs - queuedMs)}`,
    `${amountInWords(inputTokens)} in, ${amountInWords(outputTokens)} out`,
    ...(costUsd > 0 ? [`$${costUsd}`] : []),
    ...(attempts > 1 ? [`sent ${attempts} times`] : []),
  ]
  return { mark, text: `${who(event)} · ${parts.join(' · ')}` }
}

function refusedText(event: EventOf<'request.refused'>): string {
  const { reason, retryAfterMs } = event
  const again = retryAfterMs === null ? '' : `, may try again in ${spanInWords(retryAfterMs)}`
  return `${who(event)} · refused: ${reason.replaceAll('_', ' ')}${waited(event, 'after')}${again}`
}

const BOUNCES: Readonly<Record<string, string>> = {
  rate_limited: 'met the rate limit',
  overloaded: 'met an overloaded provider',
  connection: 'could not reach the provider',
}

function bouncedText({ reason, status }: EventOf<'request.bounced'>): string {
  const by = status === null ? '' : ` (${status})`
  return `${BOUNCES[reason] ?? reason}${by} and waits again at the front`
}

function learntText({ resource, dimension, amount, windowMs }: EventOf<'limits.learnt'>): string {
  return `learnt: ${limitInWords(dimension, amount, windowMs)} for ${plain(resource)}`
}

/** `30,000 input tokens a minute` */
function limitInWords(dimension: string, amount: number, windowMs: number | null): string {
  return `${amountInWords(amount)} ${dimension.replaceAll('_', ' ')} ${windowInWords(windowMs)}`
}

/** What holds up the head of a line. */
export function bindingInWords(binding: Binding): string {
  switch (binding.kind) {
    case 'limit': {
      const { limit } = binding
      const windowMs = 'windowMs' in limit ? limit.windowMs : null
      return limitInWords(limit.dimension, limit.amount, windowMs)
    }
    case 'paused':
      return 'a pause that the provider asked for'
    case 'ramp':
      return 'a slow start'
    case 'overload':
      return 'an overloaded provider'
  }
}

function budgetText(event: EventOf<'budget.warned'>): string {
  const { subject, step, spentUsd, amountUsd, period, mode } = event
  const budget = mode === 'shadow' ? 'a shadow budget' : 'its budget'
  // The last step is passed by a call that was refused: what it would have cost is not spent.
  const what = step < 100 ? `has used ${step} % of ${budget}` : `has no room left in ${budget}`
  return `${plain(subject)} ${what}: $${spentUsd} of $${amountUsd} this ${period}`
}

function degradedText({ policy, why, instances }: EventOf<'store.degraded'>): string {
  const share = instances > 1 ? `1/${instances} of the limits` : 'the limits as they were'
  const until: Readonly<Record<string, string>> = {
    degrade: `going on with ${share}`,
    open: 'going on without limits',
    closed: 'nobody new is taken',
  }
  return `the store is out of reach (${plain(why)}): ${until[policy] ?? policy} until it is back`
}

function returnedText({ afterMs, rejoined }: EventOf<'store.returned'>): string {
  const brought = rejoined > 0 ? `, and ${countOf(rejoined, 'call')} with it` : ''
  return `the store is back after ${spanInWords(afterMs)}${brought}`
}

function stoppingText({ signal, inFlight, queued }: EventOf<'gate.stopping'>): string {
  const parts = [
    ...(inFlight > 0 ? [`waiting for ${countOf(inFlight, 'call')} under way`] : []),
    ...(queued > 0 ? [`refusing ${amountInWords(queued)} that wait`] : []),
  ]
  if (parts.length === 0) return `${signal}: stopping`
  return `${signal}: ${parts.join(', ')}; once more ends them`
}
