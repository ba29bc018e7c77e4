// How long what is left of a job takes one by one, as far as is known by now. Owns: which limits and figures count.
// Must not know: the arithmetic (direct-time.ts), or what is decided by it.
import type { EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Limit } from '../core/limit.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import { directMs, fullLimit, type KnownLimit } from './batch/direct-time.ts'
import type { MessageRequest } from './message-request.ts'
import { lookAt } from './window-watch.ts'

export interface DirectForecastOptions {
  readonly dispatcher: Dispatcher
  /** What is configured for a resource. */
  readonly limitsOf: (resource: string) => readonly Limit[]
}

/** Limits and means do not change faster. */
const LOOK_EVERY_MS = 1000

/** Callers choose the names of models: of more groups the oldest is forgotten. */
const MOST_GROUPS = 16

interface Group {
  /** How many payloads of it were asked about. */
  asked: number
  lookedAt: EpochMs
  limits: readonly KnownLimit[]
  /** What one of its payloads takes, as far as can be told of the last that was looked at. */
  each: CostVector
}

export class DirectForecast {
  readonly #options: DirectForecastOptions
  readonly #groups = new Map<string, Group>()

  constructor(options: DirectForecastOptions) {
    this.#options = options
  }

  /**
   * How long the payloads that share limits with this one take, in milliseconds.
   *
   * @param left payloads of all kinds that have no answer: as many of them are of this kind as of those before
   */
  async directMs(request: MessageRequest, limitGroup: string, left: number): Promise<number> {
    const group = await this.#groupOf(request, limitGroup)
    group.asked++
    const all = [...this.#groups.values()].reduce((sum, { asked }) => sum + asked, 0)
    const ofGroup = left * (group.asked / all)
    const { requests, input_tokens, output_tokens, tokens } = group.each
    const asked = {
      requests: requests * ofGroup,
      input_tokens: input_tokens * ofGroup,
      output_tokens: output_tokens * ofGroup,
      tokens: tokens * ofGroup,
    }
    return directMs(asked, group.limits)
  }

  async #groupOf(request: MessageRequest, limitGroup: string): Promise<Group> {
    const now = this.#options.dispatcher.clock.now()
    const known = this.#groups.get(limitGroup)
    if (known && now < known.lookedAt + LOOK_EVERY_MS) return known
    const group: Group = {
      asked: known?.asked ?? 0,
      lookedAt: now,
      limits: await this.#limitsOf(request, limitGroup),
      each: this.#costOf(request, now),
    }
    this.#groups.set(limitGroup, group)
    const [oldest] = this.#groups.keys()
    if (this.#groups.size > MOST_GROUPS && oldest !== undefined) this.#groups.delete(oldest)
    return group
  }

  /** Those of the line as it stands; before anybody has stood in it, those that are configured. */
  async #limitsOf(
    { provider, headers }: MessageRequest,
    limitGroup: string,
  ): Promise<readonly KnownLimit[]> {
    const { dispatcher, limitsOf } = this.#options
    const { name } = dispatcher.resourceOf(provider, headers, limitGroup)
    return (await lookAt(dispatcher, name))?.limits ?? limitsOf(name).map(fullLimit)
  }

  /** By what answers have taken so far. */
  #costOf({ provider, operation, headers, body, flow }: MessageRequest, now: EpochMs): CostVector {
    const described = provider.describe(operation, headers, Buffer.isBuffer(body) ? body : null)
    const call = { ...described, provider, isMetered: true, scope: '', flow: flow ?? '' }
    return this.#options.dispatcher.estimator.estimate(call, now).cost
  }
}
