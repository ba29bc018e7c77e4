// How many payloads of one job are under way at once, as answers come in. Owns: when that is worked out anew.
// Must not know: the arithmetic (in-flight.ts), or payloads.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { Usage } from '../core/prompt.ts'
import type { ResourceSnapshot } from '../core/store.ts'
import type { Provider } from '../providers/provider.ts'
import { type AnswerMeans, AnswerMeter } from './answer-meter.ts'
import { AT_FIRST, type Choice, choose } from './in-flight.ts'

export interface CeilingOptions {
  /** Null: as many as rates and latencies ask for. */
  readonly maxInFlight: number | null
  readonly clock: Clock
  readonly look: (resource: string) => Promise<ResourceSnapshot | null>
  readonly onChange: (choice: Choice) => void
}

export interface MeasuredAnswer {
  readonly provider: Provider
  /** What it drew on. */
  readonly resource: string
  /** Without what it stood in line. */
  readonly latencyMs: number
  readonly usage: Usage
}

/** Latencies and limits do not change faster. */
const CHOOSE_EVERY_MS = 1000

export class Ceiling {
  readonly #options: CeilingOptions
  readonly #meter = new AnswerMeter()
  #choice: Choice
  #chosenAt: EpochMs = Number.NEGATIVE_INFINITY
  /** What the last answer drew on. */
  #resource: string | null = null

  constructor(options: CeilingOptions) {
    const { maxInFlight } = options
    this.#options = options
    this.#choice =
      maxInFlight === null ? AT_FIRST : { chosen: maxInFlight, because: 'maxInFlight says so' }
  }

  get choice(): Choice {
    return this.#choice
  }

  get means(): AnswerMeans | null {
    return this.#meter.means
  }

  get resource(): string | null {
    return this.#resource
  }

  /** An answer has come. Resolves when it has been thought over. */
  async record({ provider, resource, latencyMs, usage }: MeasuredAnswer): Promise<void> {
    const { maxInFlight, clock, look, onChange } = this.#options
    const limitGroup = resource.slice(resource.lastIndexOf('/') + 1)
    const inputTokens = provider.countedInput(limitGroup, usage)
    this.#meter.record({ latencyMs, inputTokens, outputTokens: usage.outputTokens })
    this.#resource = resource
    const now = clock.now()
    if (maxInFlight !== null || now < this.#chosenAt + CHOOSE_EVERY_MS) return
    this.#chosenAt = now
    const gate = await look(resource)
    const means = this.#meter.means
    const choice = gate && means && choose(this.#choice, means, gate)
    if (!choice) return
    this.#choice = choice
    onChange(choice)
  }
}
