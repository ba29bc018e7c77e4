// A job on virtual time: the dispatcher, gate and run of the product, and a provider that a script plays. Owns:
// driving the clock, and what the provider has seen and would bill. Must not know: what any test proves.
import { VirtualClock } from '../../src/core/clock.ts'
import type { Limit } from '../../src/core/limit.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Dispatcher } from '../../src/dispatch/dispatcher.ts'
import type { Upstream, UpstreamFailure, UpstreamHandler } from '../../src/dispatch/upstream.ts'
import { Estimator } from '../../src/estimate/estimator.ts'
import { DispatchRun } from '../../src/fleet/dispatch-run.ts'
import type { FleetEvent } from '../../src/fleet/events.ts'
import { Intake, type PayloadSource } from '../../src/fleet/intake.ts'
import type { FleetResult, MessageParams } from '../../src/fleet/payload.ts'
import { Purse } from '../../src/fleet/purse.ts'
import { RetryBudget } from '../../src/fleet/retry-budget.ts'
import type { RunOptions } from '../../src/fleet/run-parts.ts'
import { Prices } from '../../src/ledger/prices.ts'
import { Subjects } from '../../src/policy/subjects.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'

export const MODEL = 'claude-sonnet-5'

/** What the provider does with one sending. */
export type Reply =
  | {
      readonly kind: 'answer'
      readonly afterMs: number
      readonly input: number
      readonly output: number
    }
  | {
      readonly kind: 'error'
      readonly afterMs: number
      readonly status: number
      readonly type: string
    }
  /** No answer: the provider may have worked all the same, and bills it. */
  | {
      readonly kind: 'failure'
      readonly afterMs: number
      readonly failure: UpstreamFailure['kind']
      readonly billed: { readonly input: number; readonly output: number } | null
    }

export interface VirtualJobOptions {
  readonly limits?: readonly Limit[]
  /** @param resource whose limits they are: those of each, without this */
  readonly limitsOf?: (resource: string) => readonly Limit[]
  /** What the provider does where it is asked for batches. */
  readonly batchScript?: () => Reply
  /** @param nth sending of all, from 0 */
  readonly script: (params: MessageParams, nth: number) => Reply
  readonly maxSpendUsd?: number
  readonly retries?: { readonly perPayload: number; readonly perMinute: number }
  readonly run?: Partial<RunOptions>
}

export class VirtualJob {
  readonly clock = new VirtualClock(Date.UTC(2026, 0, 5))
  readonly events: (FleetEvent & { readonly at: number })[] = []
  /** Instants of sendings. */
  readonly sentAt: number[] = []
  readonly dispatcher: Dispatcher
  readonly #options: VirtualJobOptions
  /** In nano-dollars: 3 dollars a million tokens of input, 15 of output. */
  billed = 0
  inFlight = 0
  mostInFlight = 0

  constructor(options: VirtualJobOptions) {
    this.#options = options
    const { limits = [], limitsOf = () => limits } = options
    const gateOf = (resource: string) => ({
      limits: limitsOf(resource),
      learns: false,
      agingMs: 60_000,
      maxQueued: 10_000,
      floors: { soft: 0, hard: 0 },
    })
    this.dispatcher = new Dispatcher({
      clock: this.clock,
      random: seededRandom(7),
      store: new MemoryStore(this.clock, gateOf),
      ledger: null,
      rules: {
        subjects: new Subjects(NO_RULES),
        prices: new Prices([{ match: MODEL, input: 3_000_000, output: 15_000_000 }]),
        sendsUnpriced: false,
        fallbacks: [],
        fallbackAfterMs: 30_000,
      },
      estimator: new Estimator(),
      upstream: this.#upstream(),
      baseOf: () => ({ origin: 'http://provider', pathPrefix: '' }),
      events: {
        settled: () => {},
        refused: () => {},
        cancelled: () => {},
        shadowed: () => {},
        budgetWarned: () => {},
        bounced: () => {},
        failed: (error) => {
          throw error
        },
      },
    })
  }

  /** @param more options that this one has for itself */
  run(source: PayloadSource, more: Partial<RunOptions> = {}): DispatchRun {
    const { maxSpendUsd, retries = { perPayload: 3, perMinute: 20 }, run } = this.#options
    const most = maxSpendUsd === undefined ? Number.POSITIVE_INFINITY : maxSpendUsd * 1e9
    return new DispatchRun(new Intake(source), {
      dispatcher: this.dispatcher,
      terms: { apiKey: 'key', base: null, lane: 'low', flow: 'job', weight: 1 },
      purse: new Purse(most),
      retryBudget: new RetryBudget(retries.perMinute),
      retriesPerPayload: retries.perPayload,
      maxInFlight: null,
      order: 'completion',
      longWindows: 'wait',
      count: null,
      withinMs: null,
      limitsOf: this.#options.limitsOf ?? (() => this.#options.limits ?? []),
      batches: null,
      spending: null,
      stop: null,
      onEvent: (event) => this.events.push({ ...event, at: this.clock.now() }),
      ...run,
      ...more,
    })
  }

  /** All results, once the job is over. */
  async resultsOf(source: PayloadSource): Promise<FleetResult[]> {
    return await this.drive(all(this.run(source).results(null)))
  }

  /** Lets time pass until a promise is settled. */
  async drive<T>(promise: Promise<T>): Promise<T> {
    let isDone = false
    const over = (): void => {
      isDone = true
    }
    promise.then(over, over)
    for (await settled(); !isDone; await settled())
      if (!this.clock.step()) throw new Error('nothing will ever happen any more')
    return await promise
  }

  eventsOf<K extends FleetEvent['kind']>(kind: K) {
    return this.events.filter(
      (event): event is Extract<typeof event, { kind: K }> => event.kind === kind,
    )
  }

  #upstream(): Upstream {
    return {
      send: ({ body }, handler) => {
        const reply = this.#replyTo(body)
        this.inFlight++
        this.mostInFlight = Math.max(this.mostInFlight, this.inFlight)
        const end = (): void => {
          this.inFlight--
          this.#play(reply, handler)
        }
        const timer = this.clock.schedule(this.clock.now() + reply.afterMs, end)
        const abort = (): void => {
          timer.cancel()
          this.inFlight--
        }
        return { resume: () => {}, abort }
      },
    }
  }

  /** @param body of a prompt; what is asked of batches has none, or a stream */
  #replyTo(body: unknown): Reply {
    const { script, batchScript } = this.#options
    if (Buffer.isBuffer(body)) {
      const params: MessageParams = JSON.parse(String(body))
      const reply = script(params, this.sentAt.length)
      this.sentAt.push(this.clock.now())
      return reply
    }
    if (!batchScript) throw new Error('nobody has said what becomes of batches')
    return batchScript()
  }

  #play(reply: Reply, handler: UpstreamHandler): void {
    switch (reply.kind) {
      case 'answer':
        this.#bill(reply)
        handler.onHeaders(200, JSON_TYPE)
        handler.onData(Buffer.from(JSON.stringify(messageOf(reply))))
        handler.onEnd()
        return
      case 'error':
        handler.onHeaders(reply.status, JSON_TYPE)
        handler.onData(Buffer.from(JSON.stringify(errorOf(reply))))
        handler.onEnd()
        return
      default:
        if (reply.billed) this.#bill(reply.billed)
        handler.onFailure({ kind: reply.failure, detail: 'as the script says' })
    }
  }

  #bill({ input, output }: { readonly input: number; readonly output: number }): void {
    this.billed += input * 3000 + output * 15_000
  }
}

export async function all<T>(results: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = []
  for await (const result of results) read.push(result)
  return read
}

export const payloads = (count: number, more: Partial<MessageParams> = {}): MessageParams[] =>
  Array.from({ length: count }, (_, index) => ({
    model: MODEL,
    max_tokens: 100,
    messages: [{ role: 'user', content: `prompt ${index}` }],
    ...more,
  }))

export const answer = (afterMs: number, input = 10, output = 20): Reply => ({
  kind: 'answer',
  afterMs,
  input,
  output,
})

const JSON_TYPE = { 'content-type': 'application/json' }

const NO_RULES = {
  tiers: new Map(),
  defaultTier: null,
  users: new Map(),
  teams: new Map(),
  keys: [],
  warnAt: [],
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const messageOf = ({ input, output }: { readonly input: number; readonly output: number }) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: MODEL,
  content: [{ type: 'text', text: 'Yes.' }],
  stop_reason: 'end_turn',
  usage: { input_tokens: input, output_tokens: output },
})

const errorOf = ({ type }: { readonly type: string }) => ({
  type: 'error',
  error: { type, message: `this is an ${type}` },
})
