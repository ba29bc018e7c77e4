// Many prompts through one gate. Owns: a fleet's life: what its jobs share, and the engine that they use. Must
// not know: what becomes of a single payload.
import { randomUUID } from 'node:crypto'
import { realClock } from '../core/clock.ts'
import { NANO_PER_USD } from '../core/money.ts'
import { engineBehind } from '../engine/behind.ts'
import { type Engine, openEngine } from '../engine/engine.ts'
import { readConfig } from '../engine/program-config.ts'
import { engineEvents, gateEvents } from '../engine/program-events.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Settings } from '../policy/settings.ts'
import type { FleetBatches } from './batch/batch-record.ts'
import { checkBatches } from './batch/check-batches.ts'
import { DispatchRun } from './dispatch-run.ts'
import { tellTo } from './events.ts'
import { Intake, type PayloadSource } from './intake.ts'
import { type FleetOptions, type FleetSettings, readOptions } from './options.ts'
import type { FleetResult } from './payload.ts'
import { Purse } from './purse.ts'
import { RetryBudget } from './retry-budget.ts'
import type { RunOptions } from './run-parts.ts'
import type { SpendingJournal } from './spending-journal.ts'

export type { GateConfig } from '../engine/program-config.ts'
export { ConfigError } from '../policy/problem.ts'
export type { BatchEvent, BatchJournal, FleetBatches, PendingBatch } from './batch/batch-record.ts'
export type { FleetEvent } from './events.ts'
export type { PayloadSource } from './intake.ts'
export type { FleetOptions } from './options.ts'
export type {
  Answered,
  BudgetExceeded,
  Failed,
  FleetResult,
  MessageFields,
  MessageParams,
  Payload,
  PayloadInput,
  QuotaExhausted,
  TokensUsed,
} from './payload.ts'
export { readPayloads } from './read-payloads.ts'
export type { SpendingJournal } from './spending-journal.ts'

export interface DispatchOptions {
  /** Ends the job at once: what is under way is broken off, and the loop throws the signal's reason. */
  readonly signal?: AbortSignal
  /**
   * Ends the job in peace: from then on nothing is sent. What is on its way is waited for, and the loop ends.
   * Payloads that were to be sent again fail as `stopped`, others that wait have no result, and batches stay
   * pending.
   */
  readonly stop?: AbortSignal
  /** How many payloads there are. `longWindows: 'pace'` needs it. */
  readonly count?: number
  /** Where batches are remembered: without it, those of a program that dies are lost. */
  readonly batches?: FleetBatches
  /** Where it is remembered what failed attempts may have cost: a program that dies forgets it otherwise. */
  readonly spending?: SpendingJournal
}

export class Fleet implements AsyncDisposable {
  readonly #settings: FleetSettings
  readonly #apiKey: string
  readonly #flow: string
  /** Of an engine of its own; null where there is a gate. */
  readonly #engineSettings: Settings | null
  readonly #purse: Purse
  readonly #retryBudget: RetryBudget
  #engine: Promise<Engine> | null
  #run: DispatchRun | null = null
  /** What the listener threw where there was no job that it could end. */
  #untold: { readonly why: unknown } | null = null
  #isBusy = false
  #closing: Promise<void> | null = null

  /** @throws ConfigError with a line for each problem */
  constructor(options: FleetOptions = {}) {
    const settings = readOptions(options)
    const behind = settings.gate ? engineBehind(settings.gate) : null
    if (settings.gate && !behind) throw new ConfigError(['gate: is no gate of createGate'])
    this.#settings = settings
    this.#engine = behind && Promise.resolve(behind)
    this.#engineSettings = behind ? null : engineSettingsOf(settings)
    this.#apiKey = apiKeyOf(settings, this.#engineSettings ?? behind?.policy.settings ?? null)
    this.#flow = settings.flow ?? `fleet-${randomUUID()}`
    this.#purse = new Purse(settings.maxSpendNanoUsd)
    this.#retryBudget = new RetryBudget(settings.retries.perMinute)
  }

  /** What all its jobs have cost so far, in dollars, as far as it is known. */
  get spentUsd(): number {
    return this.#purse.spent / NANO_PER_USD
  }

  /**
   * Sends payloads, and gives each one's result. They are taken from the source one by one, only as many as
   * are under way: the source may be endless. Whoever reads slowly slows it down; whoever leaves the loop ends
   * what is under way. One job at a time: for two, make two fleets.
   *
   * @throws ConfigError where `payloads` is nothing that a `for` loop goes through; the signal's reason when it is
   *   aborted, what the source throws, what opening the gate throws, and what `onEvent` throws
   */
  async *dispatch(
    payloads: PayloadSource,
    { signal, stop, count, batches, spending }: DispatchOptions = {},
  ): AsyncGenerator<FleetResult, void, undefined> {
    const { longWindows } = this.#settings
    if (this.#isClosed) throw new Error('this fleet was closed')
    if (this.#isBusy) throw new Error('this fleet has a job: for two at once, make two fleets')
    if (longWindows === 'pace' && count === undefined)
      throw new ConfigError([
        "count: is missing: longWindows 'pace' needs to know how many there are",
      ])
    if (batches !== undefined) checkBatches(batches)
    const intake = new Intake(payloads)
    this.#isBusy = true
    try {
      signal?.throwIfAborted()
      const engine = await this.#open()
      if (this.#isClosed) throw new Error('this fleet was closed')
      this.#throwUntold()
      this.#run = this.#runOn(engine, intake, {
        count: count ?? null,
        batches: batches ?? null,
        spending: spending ?? null,
        stop: stop ?? null,
      })
      yield* this.#run.results(signal ?? null)
    } finally {
      if (!this.#run) await intake.close()
      this.#run = null
      this.#isBusy = false
    }
  }

  get #isClosed(): boolean {
    return this.#closing !== null
  }

  /**
   * Ends what is under way, and lets go of a gate of its own.
   *
   * @throws what `onEvent` has thrown where no job could end of it
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const run = this.#run
    run?.breakOff(new Error('this fleet was closed'))
    await run?.ended()
    if (this.#engineSettings) await (await this.#engine)?.close()
    this.#throwUntold()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #open(): Promise<Engine> {
    if (this.#engine) return this.#engine
    if (!this.#engineSettings) throw new Error('a fleet without a gate has settings')
    this.#engine = openOwn(this.#engineSettings, (sentence) => this.#warn(sentence)).catch(
      (error: unknown) => {
        // The next job tries again.
        this.#engine = null
        throw error
      },
    )
    return this.#engine
  }

  #warn(sentence: string): void {
    tellTo(this.#settings.onEvent, { kind: 'warned', sentence }, (error) => {
      if (this.#run) this.#run.breakOff(error)
      // In the midst of opening or closing: both are finished first.
      else this.#untold ??= { why: error }
    })
  }

  #throwUntold(): void {
    const untold = this.#untold
    this.#untold = null
    if (untold) throw untold.why
  }

  #runOn(
    { dispatcher, policy }: Engine,
    intake: Intake,
    particulars: Pick<RunOptions, 'count' | 'batches' | 'spending' | 'stop'>,
  ): DispatchRun {
    const settings = this.#settings
    const { baseUrl, lane, weight, maxInFlight, retries } = settings
    const base = baseUrl === undefined ? null : baseOf(baseUrl)
    return new DispatchRun(intake, {
      dispatcher,
      terms: { apiKey: this.#apiKey, base, lane, weight, flow: this.#flow },
      purse: this.#purse,
      retryBudget: this.#retryBudget,
      retriesPerPayload: retries.perPayload,
      maxInFlight: maxInFlight === 'auto' ? null : maxInFlight,
      order: settings.order,
      longWindows: settings.longWindows,
      withinMs: settings.within ?? null,
      limitsOf: (resource) => policy.gateSettings(resource).limits,
      ...particulars,
      onEvent: settings.onEvent,
    })
  }
}

/** @throws ConfigError */
function engineSettingsOf({ config = {}, floors }: FleetSettings): Settings {
  const { settings } = readConfig(config)
  if (!floors) return settings
  const anthropic = {
    ...settings.providers.anthropic,
    floors: { softTokens: floors.soft, hardTokens: floors.hard },
  }
  return { ...settings, providers: { anthropic } }
}

/** @throws ConfigError */
function apiKeyOf({ apiKey }: FleetSettings, settings: Settings | null): string {
  const found =
    apiKey ?? settings?.providers.anthropic.apiKey ?? process.env.ANTHROPIC_API_KEY ?? null
  if (found === null || found === '')
    throw new ConfigError(['apiKey: is missing: give it, or set ANTHROPIC_API_KEY'])
  if (!/^[\x21-\x7e]+$/.test(found))
    throw new ConfigError([
      'apiKey: is no key: no header can carry a space, a line end or such a letter',
    ])
  return found
}

async function openOwn(settings: Settings, warned: (sentence: string) => void): Promise<Engine> {
  const engine = await openEngine({
    settings,
    clock: realClock(),
    random: Math.random,
    events: engineEvents(gateEvents({ warned })),
    keepsBooks: false,
  })
  for (const warning of engine.warnings) warned(warning)
  return engine
}

function baseOf(url: string): { readonly origin: string; readonly pathPrefix: string } {
  const { origin, pathname } = new URL(url)
  return { origin, pathPrefix: pathname.replace(/\/+$/, '') }
}
