// What the provider will charge for: tokens by model and service tier. Owns: these sums, and the batch
// discount. Must not know: prices in dollars, which are not its to tell.
import type { Usage } from '../core/prompt.ts'
import type { PromptUsage } from './prompt-cache.ts'

/** Of the usual prices. Source: the provider's page on batch processing. */
const PRICE_FACTORS = { standard: 1, batch: 0.5 }

type ServiceTier = keyof typeof PRICE_FACTORS

/** Tokens that are charged alike. */
export interface Bill extends Usage {
  readonly model: string
  readonly serviceTier: ServiceTier
  /** What a token costs here, as a part of the model's usual price. */
  readonly priceFactor: number
}

/** One bill as it grows. */
export class BillRow {
  readonly #model: string
  readonly #serviceTier: ServiceTier
  #inputTokens = 0
  #cacheReadTokens = 0
  #cacheWriteTokens = 0
  #cacheWriteHourTokens = 0
  #outputTokens = 0

  constructor(model: string, serviceTier: ServiceTier) {
    this.#model = model
    this.#serviceTier = serviceTier
  }

  addPrompt(usage: PromptUsage): void {
    this.#inputTokens += usage.inputTokens
    this.#cacheReadTokens += usage.cacheReadTokens
    this.#cacheWriteTokens += usage.cacheWriteTokens
    this.#cacheWriteHourTokens += usage.cacheWriteHourTokens
  }

  addOutput(tokens: number): void {
    this.#outputTokens += tokens
  }

  get bill(): Bill {
    return {
      model: this.#model,
      serviceTier: this.#serviceTier,
      priceFactor: PRICE_FACTORS[this.#serviceTier],
      inputTokens: this.#inputTokens,
      cacheReadTokens: this.#cacheReadTokens,
      cacheWriteTokens: this.#cacheWriteTokens,
      cacheWriteHourTokens: this.#cacheWriteHourTokens,
      outputTokens: this.#outputTokens,
    }
  }
}

export class Bills {
  readonly #rows = new Map<string, BillRow>()

  rowOf(model: string, serviceTier: ServiceTier): BillRow {
    const name = `${serviceTier}/${model}`
    const known = this.#rows.get(name)
    if (known) return known
    const row = new BillRow(model, serviceTier)
    this.#rows.set(name, row)
    return row
  }

  all(): Bill[] {
    return Array.from(this.#rows.values(), (row) => row.bill)
  }
}
