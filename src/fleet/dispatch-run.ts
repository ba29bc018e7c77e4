// One job: payloads go in, each has its result in the end. Owns: its parts, their beginning and their end, and
// what whoever reads results gets. Must not know: when a payload is taken (feed.ts), or sent (carrier.ts).
import type { EpochMs } from '../core/clock.ts'
import { Changes } from './changes.ts'
import { Ending } from './ending.ts'
import { type FleetEvent, tellTo } from './events.ts'
import { Feed } from './feed.ts'
import { Funds } from './funds.ts'
import type { Intake } from './intake.ts'
import { ModelGroups } from './model-groups.ts'
import type { Answered, Failed, FleetResult } from './payload.ts'
import { Results } from './results.ts'
import { type BatchOrigin, RunBatches, worstOfPending } from './run-batches.ts'
import type { RunOptions, RunParts } from './run-parts.ts'

export class DispatchRun {
  readonly #options: RunOptions
  readonly #changes = new Changes()
  readonly #ending: Ending
  readonly #results: Results
  readonly #batches: RunBatches
  readonly #groups: ModelGroups
  readonly #feed: Feed

  constructor(intake: Intake, options: RunOptions) {
    const { dispatcher, terms, withinMs, limitsOf, batches, purse } = options
    const changes = this.#changes
    this.#options = options
    this.#results = new Results(options.order)
    this.#ending = new Ending({
      stop: options.stop,
      onStop: () => this.#stop(),
      onOver: () => this.#leave(),
    })
    purse.setAside(worstOfPending(batches))
    this.#batches = new RunBatches({
      dispatcher,
      terms,
      withinMs,
      limitsOf,
      batches,
      changes,
      inOrder: options.order === 'submission',
      onResult: (result, from) => this.#takeFromBatch(result, from),
      isRead: () => !this.#results.hasNext,
      onLeft: (worst, isSent) => {
        purse.giveBack(worst)
        if (isSent) purse.spend(worst)
      },
      onEvent: (event) => this.#tell(event),
      failed: (error) => {
        this.#ending.giveUp(error)
        this.#batches.leave()
      },
    })
    const parts = this.#parts(intake)
    this.#groups = new ModelGroups(parts)
    this.#feed = new Feed({ intake, parts, groups: this.#groups, batches: this.#batches })
  }

  /**
   * Whoever stops reading ends all that is under way.
   *
   * @throws what the source throws, once what was taken before has its results; the signal's reason at once
   */
  async *results(signal: AbortSignal | null): AsyncGenerator<FleetResult, void, undefined> {
    const { stop } = this.#options
    const onAbort = (): void => this.breakOff(signal?.reason)
    const onStop = (): void => this.#stopInPeace()
    signal?.addEventListener('abort', onAbort)
    stop?.addEventListener('abort', onStop)
    try {
      signal?.throwIfAborted()
      if (stop?.aborted) this.#stopInPeace()
      this.#work().catch((error: unknown) => this.breakOff(error))
      for (;;) {
        await this.#changes.until(() => this.#ending.isOver || this.#results.hasNext)
        const result = this.#ending.isBrokenOff ? null : this.#results.next()
        if (!result) break
        this.#changes.tell()
        yield result
        await this.#batches.read(result)
      }
      const { problem, marker } = this.#ending
      if (problem) throw problem.why
      if (marker) yield marker
    } finally {
      signal?.removeEventListener('abort', onAbort)
      stop?.removeEventListener('abort', onStop)
      this.#ending.end()
    }
  }

  /** Ends all that is under way, at once; whoever reads results is told why. */
  breakOff(why: unknown): void {
    this.#ending.breakOff(why)
  }

  /** Resolves when nothing of it is under way. */
  async ended(): Promise<void> {
    await this.#changes.until(() => this.#ending.isOver && this.#isIdle)
  }

  get #isIdle(): boolean {
    return this.#groups.isIdle && this.#batches.isOver
  }

  #parts(intake: Intake): RunParts {
    const options = this.#options
    const { purse } = options
    const [changes, ending] = [this.#changes, this.#ending]
    const onShort = (): void => {
      this.#tell({ kind: 'held', by: 'money', group: null, until: null })
      // It would wait for what waits for it.
      this.#batches.sendNow()
    }
    return {
      options,
      changes,
      ending,
      results: this.#results,
      funds: new Funds({ purse, changes, ending, onShort }),
      taken: () => intake.count,
      tell: (event) => this.#tell(event),
      sleepUntil: (at) => this.#sleepUntil(at),
    }
  }

  async #work(): Promise<void> {
    const { dispatcher } = this.#options
    let isFed = false
    const feeding = this.#feed
      .run()
      // Of the source: what it has given is finished first.
      .catch((why: unknown) => this.#ending.fail(why))
      .finally(() => {
        isFed = true
        this.#changes.tell()
      })
    dispatcher.follow(feeding)
    // A source may take its time for what nobody wants any more.
    await this.#changes.until(() => isFed || this.#ending.isStopping)
    this.#batches.close()
    await this.#changes.until(() => this.#isIdle)
    this.#results.closeRanks()
    this.#ending.finish()
    this.#changes.tell()
  }

  /** Nothing more is sent; what is on its way is waited for. */
  #stop(): void {
    for (const { carrier } of this.#groups.all) carrier.leaveLine()
    this.#changes.tell()
  }

  /** As `#stop`, and batches stay with the provider. */
  #stopInPeace(): void {
    this.#batches.leave()
    this.#stop()
  }

  /** Ends all that is under way, at once. */
  #leave(): void {
    for (const { carrier } of this.#groups.all) carrier.leave()
    this.#batches.leave()
    // A source that is in the midst of giving one may take its time.
    this.#options.dispatcher.follow(this.#feed.close())
    this.#changes.tell()
  }

  #takeFromBatch(result: Answered | Failed, { worstNanoUsd, isOfFormerRun }: BatchOrigin): void {
    const { purse } = this.#options
    purse.giveBack(worstNanoUsd)
    purse.spend(result.costNanoUsd ?? worstNanoUsd)
    if (isOfFormerRun) this.#results.addApart(result)
    else this.#results.add(result)
    this.#changes.tell()
  }

  /** A listener that fails ends the job. */
  #tell(event: FleetEvent): void {
    tellTo(this.#options.onEvent, event, (error) => this.breakOff(error))
  }

  async #sleepUntil(at: EpochMs): Promise<void> {
    const { clock } = this.#options.dispatcher
    const timer = clock.schedule(at, () => this.#changes.tell())
    await this.#changes.until(() => this.#ending.isStopping || clock.now() >= at)
    timer.cancel()
  }
}
