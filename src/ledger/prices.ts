// What tokens cost. Owns: the price of a model at an instant, and the cost of tokens at a price.
// Must not know: requests, budgets, or how prices are written in a configuration.
//
// The data is that of @pydantic/genai-prices, as packaged: nothing is fetched while the gate runs. Its
// prices are floating dollars per million tokens; each becomes an integer of pico-dollars per token once.
import {
  calcPrice,
  type ModelInfo as PackagedModel,
  type ModelPrice as PackagePrice,
  type TieredPrices,
} from '@pydantic/genai-prices'
import { LRUCache } from 'lru-cache'
import type { EpochMs } from '../core/clock.ts'
import type { NanoUsd, TokenCounts } from './ledger.ts'
import { LATER_PRICES } from './prices-later.ts'

/** Pico-dollars per token: one dollar per million tokens is a million of them. Integers. */
export interface TokenPrices {
  readonly input: number
  readonly cacheRead: number
  /** Kept for five minutes. */
  readonly cacheWrite: number
  readonly cacheWriteHour: number
  readonly output: number
}

/** What a model costs. */
export interface ModelPrice {
  readonly base: TokenPrices
  /**
   * The prices of a whole request whose input, whatever was cached of it, is larger than `above` tokens;
   * rising, the last that is passed counts.
   */
  readonly tiers: readonly { readonly above: number; readonly prices: TokenPrices }[]
  /** A request in a batch costs this fraction: 1 where the provider gives no discount. */
  readonly batchFactor: number
}

/** A price that a user knows better than the package. Pico-dollars per token, as integers. */
export interface PriceRule {
  /** A model's name, where `*` stands for any letters. */
  readonly match: string
  readonly input: number
  readonly output: number
  /** @default a tenth of `input`, as for most of Anthropic's models. */
  readonly cacheRead?: number | undefined
  /** @default five quarters of `input`, as Anthropic charges. */
  readonly cacheWrite?: number | undefined
  /** @default twice `input`, as Anthropic charges. */
  readonly cacheWriteHour?: number | undefined
}

/** Both sell batches at half price: platform.claude.com, "Batch processing"; platform.openai.com, "Batch API". */
const BATCH_FACTORS: Readonly<Record<string, number>> = { anthropic: 0.5, openai: 0.5 }

/** Callers choose the names of models, so what is remembered of them is bounded. */
const MODELS_REMEMBERED = 1000

const MINUTE_MS = 60_000

/** Tokens of a request that may be dearer than others of its model. */
export interface PricedTokens extends TokenCounts {
  /** Of the usual price, in per cent. @default 100 */
  readonly pricePercent?: number
}

interface Remembered {
  readonly price: ModelPrice | null
  /** The only minute that it is known to hold in; null: it holds for ever. */
  readonly minute: number | null
}

/** Prices by provider and model: the overrides', then those that the package does not have yet, then the package's. */
export class Prices {
  readonly #overrides: readonly { readonly match: RegExp; readonly prices: TokenPrices }[]
  readonly #remembered = new LRUCache<string, Remembered>({ max: MODELS_REMEMBERED })

  constructor(overrides: readonly PriceRule[]) {
    this.#overrides = overrides.map((rule) => ({
      match: glob(rule.match),
      prices: wholeRule(rule),
    }))
  }

  /**
   * The model's price at an instant. Null when it is not known: that is not the same as free.
   * @param provider - The provider's name, such as `anthropic`.
   * @param model - As a request or an answer names it: aliases and names with a date are understood.
   */
  priceOf(provider: string, model: string, at: EpochMs): ModelPrice | null {
    const name = `${provider}/${model}`
    const minute = Math.floor(at / MINUTE_MS)
    const known = this.#remembered.get(name)
    if (known && (known.minute === null || known.minute === minute)) return known.price
    const found = this.#find(provider, model, at)
    this.#remembered.set(name, { price: found.price, minute: found.isDated ? minute : null })
    return found.price
  }

  #find(provider: string, model: string, at: EpochMs): Found {
    const batchFactor = BATCH_FACTORS[provider] ?? 1
    const override = this.#overrides.find(({ match }) => match.test(model))
    if (override) return always({ base: override.prices, tiers: [], batchFactor })
    const later = LATER_PRICES.find((it) => it.provider === provider && it.match.test(model))
    if (later) return always({ base: later.base, tiers: later.tiers, batchFactor })
    const packaged = calcPrice({}, model, { providerId: provider, timestamp: new Date(at) })
    if (!packaged) return always(null)
    const price = exactPrice(packaged.model_price, batchFactor)
    return { price, isDated: isDated(packaged.model) }
  }
}

interface Found {
  readonly price: ModelPrice | null
  /** Whether another instant may have another price. */
  readonly isDated: boolean
}

const always = (price: ModelPrice | null): Found => ({ price, isDated: false })

/** Prices that change, by date or by the time of day, come as a list. */
const isDated = ({ prices }: PackagedModel): boolean => Array.isArray(prices)

/** What tokens cost, rounded up to the nano-dollar. Exact up to nine thousand dollars. */
export function costOf(
  price: ModelPrice,
  tokens: PricedTokens,
  { isBatch = false }: { readonly isBatch?: boolean } = {},
): NanoUsd {
  const each = pricesFor(price, tokens)
  const hourWrites = Math.min(tokens.cacheWriteHourTokens, tokens.cacheWriteTokens)
  const pico =
    tokens.inputTokens * each.input +
    tokens.cacheReadTokens * each.cacheRead +
    (tokens.cacheWriteTokens - hourWrites) * each.cacheWrite +
    hourWrites * each.cacheWriteHour +
    tokens.outputTokens * each.output
  const usual = isBatch ? pico * price.batchFactor : pico
  const { pricePercent = 100 } = tokens
  return Math.ceil(pricePercent === 100 ? usual / 1000 : (usual * pricePercent) / 100_000)
}

function pricesFor({ base, tiers }: ModelPrice, tokens: TokenCounts): TokenPrices {
  const input = tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens
  return tiers.findLast(({ above }) => input > above)?.prices ?? base
}

function wholeRule({
  input,
  output,
  cacheRead,
  cacheWrite,
  cacheWriteHour,
}: PriceRule): TokenPrices {
  return {
    input,
    output,
    cacheRead: cacheRead ?? Math.ceil(input / 10),
    cacheWrite: cacheWrite ?? Math.ceil((input * 5) / 4),
    cacheWriteHour: cacheWriteHour ?? input * 2,
  }
}

/** Null for a model that is not sold by the token, such as one that transcribes by the hour. */
function exactPrice(packaged: PackagePrice, batchFactor: number): ModelPrice | null {
  if (packaged.input_mtok === undefined) return null
  const starts = Object.values(packaged).flatMap((price) =>
    typeof price === 'object' ? price.tiers.map(({ start }) => start) : [],
  )
  const rising = [...new Set(starts)].sort((a, b) => a - b)
  return {
    base: tokenPrices(packaged, 0),
    tiers: rising.map((above) => ({ above, prices: tokenPrices(packaged, above + 1) })),
    batchFactor,
  }
}

/**
 * The prices of a request of so much input. Where a kind of input has no price of its own it costs what the
 * wider kind costs, as in the package.
 */
function tokenPrices(packaged: PackagePrice, inputTokens: number): TokenPrices {
  const pico = (name: string): number | undefined => picoPerToken(packaged[name], inputTokens)
  const input = pico('input_mtok') ?? 0
  const cacheWrite = pico('cache_write_mtok') ?? input
  return {
    input,
    output: pico('output_mtok') ?? 0,
    cacheRead: pico('cache_read_mtok') ?? input,
    cacheWrite,
    cacheWriteHour: pico('cache_write_1h_mtok') ?? cacheWrite,
  }
}

function picoPerToken(
  price: number | TieredPrices | undefined,
  inputTokens: number,
): number | undefined {
  if (price === undefined) return undefined
  const dollarsPerMillion =
    typeof price === 'number'
      ? price
      : (price.tiers.findLast(({ start }) => inputTokens > start)?.price ?? price.base)
  return Math.round(dollarsPerMillion * 1_000_000)
}

function glob(pattern: string): RegExp {
  const literal = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${literal.join('.*')}$`)
}
