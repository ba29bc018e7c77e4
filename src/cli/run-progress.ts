// How far a job is, as it is shown: a line that changes on a terminal, lines now and then elsewhere, or
// JSON. Owns: the words and the figures, and when they are written. Must not know: how a job is run.
import type { Clock, EpochMs } from '../core/clock.ts'
import { formatUsd } from '../core/money.ts'
import type { Output } from './io.ts'
import { every } from './pause.ts'
import { columnsOf } from './terminal/live-screen.ts'
import { amountInWords, joinFitting, spanInWords } from './terminal/words.ts'

/** How a job stands at one moment. */
export interface JobFacts {
  readonly total: number
  readonly answered: number
  readonly failed: number
  readonly underWay: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly spentNanoUsd: number
  /** What the head of the line waits for, and until when; null where nobody waits, or nothing is known. */
  readonly waitsFor: { readonly what: string; readonly until: EpochMs | null } | null
}

export interface ProgressOptions {
  readonly clock: Clock
  readonly output: Output
  readonly form: 'terminal' | 'text' | 'json'
  readonly facts: () => Promise<JobFacts>
}

const TERMINAL_EVERY_MS = 500
const LINES_EVERY_MS = 10_000
/** The rate is that of the last minute. */
const RATE_OVER_MS = 60_000

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

  /** @param failed hears of what keeps it from being shown */
  start(failed: (error: unknown) => void): void {
    const { clock, form } = this.#options
    const everyMs = form === 'terminal' ? TERMINAL_EVERY_MS : LINES_EVERY_MS
    const show = (): void => void this.#show().catch(failed)
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

  stop(): void {
    this.#isDone = true
    this.#stopTicking()
    this.#clear()
  }

  async #show(): Promise<void> {
    const { clock, output, form, facts: look } = this.#options
    const facts = await look()
    if (this.#isDone) return
    const now = clock.now()
    const rate = this.#rate(facts, now)
    if (form === 'json') {
      const event = { ...this.#stamp(), ...progressEvent(facts, rate, now) }
      output.write(`${JSON.stringify(event)}\n`)
    } else if (form === 'text') {
      output.write(`${partsOf(facts, rate, now).join('   ')}\n`)
    } else {
      output.write(CLEAR_LINE + joinFitting(partsOf(facts, rate, now), '   ', columnsOf(output)))
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

function endsInMs({ total, answered, failed }: JobFacts, rate: number | null): number | null {
  const left = total - answered - failed
  return rate !== null && rate > 0 && left > 0 ? (left / rate) * 1000 : null
}

/** The most important first: a narrow terminal shows as many as fit. */
function partsOf(facts: JobFacts, rate: number | null, now: EpochMs): string[] {
  const { total, answered, failed, underWay, waitsFor } = facts
  const left = endsInMs(facts, rate)
  const tokens = facts.inputTokens + facts.outputTokens
  return [
    `${amountInWords(answered + failed)} of ${amountInWords(total)}`,
    ...(left === null ? [] : [`${spanInWords(left)} left`]),
    dollars(facts.spentNanoUsd),
    ...(failed > 0 ? [`${amountInWords(failed)} failed`] : []),
    ...(rate === null ? [] : [`${rate.toFixed(1)}/s`]),
    `${amountInWords(underWay)} under way`,
    ...(waitsFor === null ? [] : [waitingInWords(waitsFor, now)]),
    `${amountInWords(tokens)} tokens`,
  ]
}

type Waiting = NonNullable<JobFacts['waitsFor']>

function waitingInWords({ what, until }: Waiting, now: EpochMs): string {
  return `waits for ${what}${until === null ? '' : `, next in ${spanInWords(until - now)}`}`
}

function progressEvent(facts: JobFacts, rate: number | null, now: EpochMs) {
  const { total, answered, failed, underWay, inputTokens, outputTokens, waitsFor } = facts
  return {
    event: 'run.progress',
    total,
    answered,
    failed,
    underWay,
    inputTokens,
    outputTokens,
    spentUsd: facts.spentNanoUsd / 1e9,
    perSecond: rate === null ? null : Number(rate.toFixed(3)),
    endsInMs: rounded(endsInMs(facts, rate)),
    waitsFor: waitsFor?.what ?? null,
    nextInMs: waitsFor?.until == null ? null : rounded(Math.max(0, waitsFor.until - now)),
  }
}

const rounded = (value: number | null): number | null => (value === null ? null : Math.round(value))

/** To the cent; what is less than one, to the nano-dollar. */
export function dollars(nanoUsd: number): string {
  const isSmall = nanoUsd < 10_000_000
  return `$${isSmall ? formatUsd(Math.round(nanoUsd)) : (nanoUsd / 1e9).toFixed(2)}`
}
