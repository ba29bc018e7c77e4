// Usage as Anthropic writes it. Owns: which of its fields make up what. Must not know: streams.
import { z } from 'zod'
import type { Usage } from '../../core/prompt.ts'
import { pricePercentOf } from './price-terms.ts'

/** More than any model reads or writes: with so many, money is still an exact number. */
const MOST_TOKENS = 100_000_000

/**
 * Counts may be missing, null or new; none of that is worth losing the others for. A number that cannot be one,
 * such as -1 or 1e15, is: a report with such a number in it is not believed at all.
 */
const count = z
  .unknown()
  .transform((value) => (typeof value === 'number' ? value : null))
  .pipe(z.int().nonnegative().max(MOST_TOKENS).nullable())
  .optional()

const counts = z.object({
  input_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  cache_creation: z.object({ ephemeral_1h_input_tokens: count }).nullish().catch(null),
  output_tokens: count,
})

const word = z.string().nullish().catch(null)

const usageSchema = counts.extend({
  inference_geo: word,
  speed: word,
  iterations: z
    .array(counts.extend({ type: word }))
    .nullish()
    .catch(null),
})

type ReportedCounts = z.infer<typeof counts>

/** What an answer has said so far, in the two parts that Anthropic keeps apart. */
export interface ReportedUsage {
  readonly answer: Usage
  /** Server-side compaction, which the answer's own numbers leave out. */
  readonly compaction: Usage
  /** Null where it says neither where nor how fast. */
  readonly terms: { readonly geo: string | null; readonly speed: string | null } | null
}

const NO_USAGE: Usage = {
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWriteHourTokens: 0,
  outputTokens: 0,
}

/**
 * Adds a report to an earlier one, or to none. Counts are cumulative: what a report gives replaces,
 * what it leaves out or gives as null stays. Null where `json` is no usage.
 */
export function mergeUsage(earlier: ReportedUsage | null, json: unknown): ReportedUsage | null {
  const report = usageSchema.safeParse(json).data
  // Without its input a first report says nothing that could be settled with: unknown is not zero.
  if (!report || (!earlier && typeof report.input_tokens !== 'number')) return earlier
  const compactions = report.iterations?.filter(({ type }) => type === 'compaction')
  return {
    answer: replace(earlier?.answer ?? NO_USAGE, report),
    compaction: compactions?.reduce(add, NO_USAGE) ?? earlier?.compaction ?? NO_USAGE,
    terms: termsOf(earlier, report),
  }
}

export function totalUsage({ answer, compaction, terms }: ReportedUsage): Usage {
  const total = sum(answer, compaction)
  return terms ? { ...total, pricePercent: pricePercentOf(terms) } : total
}

function termsOf(
  earlier: ReportedUsage | null,
  report: z.infer<typeof usageSchema>,
): ReportedUsage['terms'] {
  const geo = report.inference_geo ?? earlier?.terms?.geo ?? null
  const speed = report.speed ?? earlier?.terms?.speed ?? null
  return geo === null && speed === null ? null : { geo, speed }
}

function replace(earlier: Usage, report: ReportedCounts): Usage {
  return {
    inputTokens: report.input_tokens ?? earlier.inputTokens,
    cacheReadTokens: report.cache_read_input_tokens ?? earlier.cacheReadTokens,
    cacheWriteTokens: report.cache_creation_input_tokens ?? earlier.cacheWriteTokens,
    cacheWriteHourTokens:
      report.cache_creation?.ephemeral_1h_input_tokens ?? earlier.cacheWriteHourTokens,
    outputTokens: report.output_tokens ?? earlier.outputTokens,
  }
}

function add(total: Usage, report: ReportedCounts): Usage {
  return sum(total, replace(NO_USAGE, report))
}

function sum(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
    cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
    cacheWriteHourTokens: a.cacheWriteHourTokens + b.cacheWriteHourTokens,
    outputTokens: a.outputTokens + b.outputTokens,
  }
}
