// Usage as Anthropic writes it. Owns: which of its fields make up what. Must not know: streams.
import { z } from 'zod'
import type { Usage } from '../../core/prompt.ts'

/** Counts may be missing, null or new; none of that is worth losing the others for. */
const count = z.int().nonnegative().nullish().catch(null)

const counts = z.object({
  input_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  cache_creation: z.object({ ephemeral_1h_input_tokens: count }).nullish().catch(null),
  output_tokens: count,
})

const usageSchema = counts.extend({
  iterations: z
    .array(counts.extend({ type: z.string().nullish().catch(null) }))
    .nullish()
    .catch(null),
})

type ReportedCounts = z.infer<typeof counts>

/** What an answer has said so far, in the two parts that Anthropic keeps apart. */
export interface ReportedUsage {
  readonly answer: Usage
  /** Server-side compaction, which the answer's own numbers leave out. */
  readonly compaction: Usage
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
  }
}

export function totalUsage({ answer, compaction }: ReportedUsage): Usage {
  return sum(answer, compaction)
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
