// How far a job is, as it is shown: a line that changes on a terminal, lines now and then elsewhere, or
// JSON. Owns: the words and the figures, and when they are written. Must not know: how a job is run.
import type { Clock, EpochMs } from '../core/clock.ts'
import { formatUsd, NANO_PER_USD } from '../core/money.ts'
import type { Output } from './io.ts'
import { every } from './pause.ts'
import { columnsOf } from './terminal/live-screen.ts'
import { amountInWords, bar, clip, joinFitting, spanInWords } from './terminal/words.ts'

/** How a job stands at one moment. */
export interface JobFacts {
  readonly total: number
  readonly answered: number
  readonly failed: number
  readonly underWay: number
  /** Those of them that the provider has in batches, or that wait to go in one. */
  readonly inBatches: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly spentNanoUsd: number
  /** Whether nothing more is sent. */
  readonly isStopping: boolean
  /** What the head of the line waits for, and until when; null where nobody waits, or nothing is known. */
  readonly waitsFor: { readonly what: string; readonly until: EpochMs | null } | null
  /** Why nothing comes back; null where something does. */
  readonly trouble: string | null
}

export interface ProgressOptions {
  readonly clock: Clock
  readonly output: Output
  /** Where warnings go. */
  readonly errors: Output
  readonly form: 'terminal' | 'text' | 'json'
}

const TERMINAL_EVERY_MS = 500
const LINES_EVERY_MS = 10_000
/** The rate is that of the last minute. */
const RATE_OVER_MS = 60_000

const GAP = '   '

// Source: xterm's control sequences.
const CLEAR_LINE = '\r\u001b[2K'

interface Sample {
  readonly at: EpochMs
  readonly done: number
}

export class Progress {
  readonly #options: ProgressOptions
  readonly #samples: Sample[] = []
  #stopTicking: () => void = () => {}
  #isShown = false
  #isDone = false

  constructor(options: ProgressOptions) {
    this.#options = options
  }

  /**
   * @param look how the job stands
   * @param failed hears of what keeps it from being shown
   */
  start(look: () => Promise<JobFacts>, failed: (error: unknown) => void): void {
    const { clock, form } = this.#options
    const everyMs = form === 'terminal' ? TERMINAL_EVERY_MS : LINES_EVERY_MS
    const show = (): void =>
      void look()
        .then((facts) => this.#show(facts))
        .catch(failed)
    this.#stopTicking = every(clock, everyMs, show)
    show()
  }

  /** Something that happened once: a line of its own. */
  tell(sentence: string, event: Readonly<Record<string, unknown>>): void {
    const { output, form } = this.#options
    if (form === 'json') output.write(`${JSON.stringify({ ...this.#stamp(), ...event })}\n`)
    else {
      this.#clear()
      output.write(`${sentence}\n`)
    }
  }

  /** The same, where it would only push the line that changes off its place: not on a terminal. */
  note(sentence: string, event: Readonly<Record<string, unknown>>): void {
    if (this.#options.form !== 'terminal') this.tell(sentence, event)
  }

  /** Something that somebody should know of. */
  warn(sentence: string): void {
    const { errors, form } = this.#options
    if (form === 'json') this.tell(sentence, { event: 'run.warned', sentence })
    else {
      this.#clear()
      errors.write(`warning: ${sentence}\n`)
    }
  }

  stop(): void {
    this.#isDone = true
    this.#stopTicking()
    this.#clear()
  }

  #show(facts: JobFacts): void {
    const { clock, output, form } = this.#options
    if (this.#isDone) return
    const now = clock.now()
    const rate = this.#rate(facts, now)
    if (form === 'json') {
      const event = { ...this.#stamp(), ...progressEvent(facts, rate, now) }
      output.write(`${JSON.stringify(event)}\n`)
    } else if (form === 'text') {
      output.write(`${partsOf(facts, rate, now).join(GAP)}\n`)
    } else {
      output.write(CLEAR_LINE + lineOf(facts, partsOf(facts, rate, now), columnsOf(output)))
      this.#isShown = true
    }
  }

  /** Outcomes a second; null before there is anything to go by. */
  #rate({ answered, failed }: JobFacts, at: EpochMs): number | null {
    this.#samples.push({ at, done: answered + failed })
    while (at - (this.#samples[1]?.at ?? at) >= RATE_OVER_MS) this.#samples.shift()
    const [first] = this.#samples
    if (!first || at === first.at) return null
    return ((answered + failed - first.done) / (at - first.at)) * 1000
  }

  #stamp(): { readonly time: string } {
    return { time: new Date(this.#options.clock.now()).toISOString() }
  }

  #clear(): void {
    if (this.#isShown) this.#options.output.write(CLEAR_LINE)
    this.#isShown = false
  }
}

/** Null where nobody can say. Batches bring all of their answers at once. */
function endsInMs(facts: JobFacts, rate: number | null): number | null {
  const { total, answered, failed, inBatches, isStopping, trouble } = facts
  const left = total - answered - failed
  if (!rate || left <= 0 || inBatches > 0 || isStopping || trouble !== null) return null
  return (left / rate) * 1000
}

/** From so many columns on there is room for a bar as well. */
const COLUMNS_FOR_BAR = 100
const BAR_WIDTH = 16

/** What fits of the parts. Of a trouble, which comes last, its beginning. */
function lineOf(facts: JobFacts, parts: readonly string[], columns: number): string {
  const { total, answered, failed, trouble } = facts
  if (trouble !== null) return clip(parts.join(GAP), columns)
  if (columns < COLUMNS_FOR_BAR) return joinFitting(parts, GAP, columns)
  const done = bar((answered + failed) / total, BAR_WIDTH)
  return `${done} ${joinFitting(parts, GAP, columns - BAR_WIDTH - 1)}`
}

/** The most important first: a narrow terminal shows as many as fit. */
function partsOf(facts: JobFacts, rate: number | null, now: EpochMs): string[] {
  const { total, answered, failed, underWay, inBatches, waitsFor, trouble } = facts
  const leftMs = endsInMs(facts, rate)
  const alone = underWay - inBatches
  const tokens = facts.inputTokens + facts.outputTokens
  const isOnlyBatches = alone === 0 && inBatches > 0
  const underWayInWords = isOnlyBatches ? [] : [`${amountInWords(alone)} under way`]
  const standing = [
    `${amountInWords(answered + failed)} of ${amountInWords(total)}`,
    ...(facts.isStopping ? ['stopping'] : []),
    ...(leftMs === null ? [] : [`${spanInWords(leftMs)} left`]),
    dollars(facts.spentNanoUsd),
    ...(failed > 0 ? [`${amountInWords(failed)} failed`] : []),
    ...(inBatches > 0 ? [`${amountInWords(inBatches)} in batches`] : []),
  ]
  if (trouble !== null) return [...standing, ...underWayInWords, `tries again after: ${trouble}`]
  return [
    ...standing,
    ...(waitsFor === null ? [] : [waitingInWords(waitsFor, now)]),
    ...(rate === null || isOnlyBatches ? [] : [`${rate.toFixed(1)}/s`]),
    ...underWayInWords,
    `${amountInWords(tokens)} tokens`,
  ]
}

type Waiting = NonNullable<JobFacts['waitsFor']>

/** A limit that comes back all the time is not worth counting down for. */
const WORTH_COUNTING_MS = 1000

function waitingInWords({ what, until }: Waiting, now: EpochMs): string {
  const isSoon = until === null || until - now < WORTH_COUNTING_MS
  return `waits for ${what}${isSoon ? '' : `, next in ${spanInWords(until - now)}`}`
}

function progressEvent(facts: JobFacts, rate: number | null, now: EpochMs) {
  const { total, answered, failed, underWay, inBatches, inputTokens, outputTokens } = facts
  const { waitsFor, trouble } = facts
  return {
    event: 'run.progress',
    total,
    answered,
    failed,
    underWay,
    inBatches,
    inputTokens,
    outputTokens,
    spentUsd: facts.spentNanoUsd / NANO_PER_USD,
    perSecond: rate === null ? null : Number(rate.toFixed(3)),
    endsInMs: rounded(endsInMs(facts, rate)),
    waitsFor: waitsFor?.what ?? null,
    nextInMs: waitsFor?.until == null ? null : rounded(Math.max(0, waitsFor.until - now)),
    trouble,
  }
}

const rounded = (value: number | null): number | null => (value === null ? null : Math.round(value))

/** To the cent; what is less than one, to the nano-dollar. */
export function dollars(nanoUsd: number): string {
  const isSmall = nanoUsd < 10_000_000
  return `$${isSmall ? formatUsd(Math.round(nanoUsd)) : (nanoUsd / NANO_PER_USD).toFixed(2)}`
}
