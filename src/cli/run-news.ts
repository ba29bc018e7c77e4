// What a fleet tells while a job is run, for whoever watches. Owns: the sentences, and what holds the job up at
// the moment. Must not know: how any of it is shown.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { FleetEvent } from '../fleet/events.ts'
import type { Job } from '../fleet/job/job.ts'
import type { Failed } from '../fleet/payload.ts'
import type { JobFacts, Progress } from './run-progress.ts'
import { amountInWords, clip, countOf, plain, spanInWords } from './terminal/words.ts'

type HeldBy = Extract<FleetEvent, { kind: 'held' }>['by']

/** Such as it is put after "waits for"; null where it concerns single prompts. */
const HELD_BY: Readonly<Record<HeldBy, string | null>> = {
  money: 'money: what is under way may cost all that is left',
  pace: 'its turn, at the pace that makes the limit last',
  // The line tells of it.
  provider: null,
  retries: null,
}

const OVERLOADED = 529

const LONGEST_TROUBLE = 120
/** What held up a batch is over unless it is told of anew by then. */
const PASSES_MS = 30_000

export class RunNews {
  readonly #progress: Progress
  readonly #clock: Clock
  readonly #outcomes: () => number
  /** It holds until an instant, or else until there is one outcome more. */
  #held: { readonly what: string; readonly until: EpochMs | null; readonly at: number } | null =
    null
  #trouble: { readonly what: string; readonly until: EpochMs; readonly at: number } | null = null
  #lastError = ''

  /** @param outcomes how many prompts have one */
  constructor(progress: Progress, clock: Clock, outcomes: () => number) {
    this.#progress = progress
    this.#clock = clock
    this.#outcomes = outcomes
  }

  /** What the fleet itself waits for, before anything gets into the line. */
  get held(): JobFacts['waitsFor'] {
    if (!this.#held) return null
    const { what, until, at } = this.#held
    const isOver = until === null ? this.#outcomes() > at : this.#clock.now() >= until
    return isOver ? null : { what, until }
  }

  /** Why nothing comes back: the last failure, where there was no outcome since. */
  get trouble(): string | null {
    if (!this.#trouble) return null
    const { what, until, at } = this.#trouble
    return this.#outcomes() === at && this.#clock.now() < until ? what : null
  }

  /** The gate has met an overloaded provider, or none, and tries again by itself. */
  bounced(reason: 'rate_limited' | 'overloaded' | 'connection', status: number | null): void {
    // Limits say themselves what they make wait.
    if (reason === 'rate_limited') return
    this.#meet(bouncedInWords(reason, status))
  }

  hear(event: FleetEvent): void {
    const progress = this.#progress
    switch (event.kind) {
      case 'in_flight': {
        const { group, chosen, because } = event
        const fields = { event: 'run.in_flight', group, chosen, because }
        progress.note(
          `${chosen} at once${group === null ? '' : ` of ${group}`}: ${because}`,
          fields,
        )
        break
      }
      case 'attempt_failed':
        if (event.retryAt !== null) this.#meet(inWords(event.error))
        break
      case 'held': {
        const what = HELD_BY[event.by]
        if (what !== null) this.#held = { what, until: event.until, at: this.#outcomes() }
        break
      }
      case 'batch_submitted': {
        const { batchId, payloads } = event
        const sentence = `${countOf(payloads, 'prompt')} went into the batch ${plain(batchId)}. Most batches end within an hour.`
        progress.tell(sentence, { event: 'run.batch_submitted', batchId, payloads })
        break
      }
      case 'batch_ended': {
        const { batchId, tookMs } = event
        const sentence = `The batch ${plain(batchId)} has ended after ${spanInWords(tookMs)}.`
        progress.tell(sentence, { event: 'run.batch_ended', batchId, tookMs })
        break
      }
      case 'batch_delayed': {
        const { batchId, error, retryAt } = event
        const reason = inWords(error)
        const sentence = `A batch is held up (${reason}): it is tried again in ${spanInWords(retryAt - this.#clock.now())}.`
        // Nobody tells that a look has succeeded.
        this.#meet(reason, retryAt + PASSES_MS)
        progress.note(sentence, { event: 'run.batch_delayed', batchId, reason, retryAt })
        break
      }
      case 'warned':
        progress.warn(event.sentence)
        break
    }
  }

  #meet(what: string, until: EpochMs = Number.POSITIVE_INFINITY): void {
    this.#trouble = { what, until, at: this.#outcomes() }
  }

  resumed({ doneBefore, lost, standing, inBatches }: Job): void {
    const { total } = standing
    const parts = [
      `Goes on after ${amountInWords(doneBefore)} of ${countOf(total, 'prompt')}`,
      ...(inBatches > 0 ? [`${amountInWords(inBatches)} are in batches`] : []),
      ...(lost.prompts > 0 ? [`${countOf(lost.prompts, 'prompt')} may be sent a second time`] : []),
    ]
    this.#progress.tell(`${parts.join(', ')}.`, {
      event: 'run.resumed',
      done: doneBefore,
      total,
      lost: lost.prompts,
      inBatches,
    })
  }

  /** What goes wrong beside the job is said once, until something else does. */
  failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    if (message !== this.#lastError) this.#progress.warn(message)
    this.#lastError = message
  }
}

function bouncedInWords(reason: 'overloaded' | 'connection', status: number | null): string {
  if (reason === 'connection' || status === null) return 'the provider is out of reach'
  return status === OVERLOADED ? 'the provider is overloaded' : `the provider answers ${status}`
}

function inWords({ status, message }: Failed['error']): string {
  const words = plain(message).trim()
  return clip(status === null ? words : `${status} ${words}`, LONGEST_TROUBLE)
}
