// What a job writes down, line by line. Owns: the form of answers, of failures and of the journal, both
// ways. Must not know: files, or when anything is written.
import { z } from 'zod'
import { NANO_PER_USD } from '../../core/money.ts'
import type { Answered, Failed, TokensUsed } from '../payload.ts'
import type { InputMark } from './input.ts'

/** Integer nano-dollars of a written amount. */
const nanoUsdOf = (usd: number | null): number | null =>
  usd === null ? null : Math.round(usd * NANO_PER_USD)

const usdOf = (nanoUsd: number | null): number | null =>
  nanoUsd === null ? null : nanoUsd / NANO_PER_USD

const line = (document: object): string => `${JSON.stringify(document)}\n`

/** A line of the output. */
export function answerLine(result: Answered): string {
  const { id, response, tokens } = result
  const usage = tokens && { usage: usageOf(tokens) }
  return line({ id, response, ...usage, ...effortOf(result) })
}

/** A line of the failures. @param run that it failed in */
export function failureLine(result: Failed, place: { line: number; run: number }): string {
  const { status, type, message, isRetryable } = result.error
  const error = { status, type, message, is_retryable: isRetryable }
  return line({ id: result.id, ...place, error, ...effortOf(result) })
}

/** The same for a line of the input that is no prompt. */
export function badLine(id: string, why: string, place: { line: number; run: number }): string {
  const error = { status: null, type: 'bad_line', message: `The line ${why}.`, is_retryable: false }
  return line({ id, ...place, error, cost_usd: 0, latency_ms: 0, attempts: 0 })
}

function effortOf({ costNanoUsd, latencyMs, attempts, via }: Answered | Failed) {
  const effort = { cost_usd: usdOf(costNanoUsd), latency_ms: Math.round(latencyMs), attempts }
  return via === undefined ? effort : { ...effort, via }
}

function usageOf({ input, cacheRead, cacheWrite, output }: TokensUsed) {
  return {
    input_tokens: input,
    cache_read_input_tokens: cacheRead,
    cache_creation_input_tokens: cacheWrite,
    output_tokens: output,
  }
}

const cost = z.number().nullable().transform(nanoUsdOf)

const usage = z
  .object({
    input_tokens: z.number(),
    cache_read_input_tokens: z.number(),
    cache_creation_input_tokens: z.number(),
    output_tokens: z.number(),
  })
  .transform(
    (written): TokensUsed => ({
      input: written.input_tokens,
      cacheRead: written.cache_read_input_tokens,
      cacheWrite: written.cache_creation_input_tokens,
      output: written.output_tokens,
    }),
  )

/** What a later run needs of an answer. */
export const writtenAnswer = z
  .object({ id: z.string(), cost_usd: cost, usage: usage.optional() })
  .transform((written) => ({ ...written, tokens: written.usage ?? null }))

/** What a later run needs of a failure. */
export const writtenFailure = z.object({
  id: z.string(),
  line: z.int().min(1),
  run: z.int().min(1),
  cost_usd: cost,
})

const journalSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('job'),
    version: z.literal(1),
    input: z.object({ path: z.string(), bytes: z.number(), sha256: z.string() }),
  }),
  z.object({ kind: z.literal('run'), run: z.int().min(1) }),
  // A prompt is about to be sent.
  z.object({
    kind: z.literal('started'),
    id: z.string(),
    worst_nano_usd: z.number().nullable(),
  }),
  // A sending of it has failed and may have cost so much; it is about to be sent again.
  z.object({ kind: z.literal('attempt_failed'), id: z.string(), cost_nano_usd: z.number() }),
  // Nothing of it is under way, and it has no outcome. What all its sendings have cost.
  z.object({ kind: z.literal('unsent'), id: z.string(), cost_nano_usd: z.number() }),
  // Former runs had begun these, and nobody has them any more: so much each has cost at the most.
  z.object({
    kind: z.literal('lost'),
    lines: z.array(z.object({ line: z.int().min(1), cost_nano_usd: z.number() })),
  }),
  // All that had failed before this run is none of the failures any more, and is open.
  z.object({
    kind: z.literal('retried'),
    run: z.int().min(1),
    failures: z.array(z.object({ line: z.int().min(1), cost_nano_usd: z.number() })),
  }),
  // A batch is about to be created; it is not for now; it is about to be once more; its id, once it has one; and
  // that nothing of it is missing any more.
  z.object({
    kind: z.literal('batch'),
    name: z.string(),
    sent_at: z.number(),
    size: z.int().min(1),
    payloads: z.array(
      z.object({
        id: z.string(),
        index: z.int(),
        worst_nano_usd: z.number().nullable(),
        price_percent: z.number().optional(),
      }),
    ),
  }),
  z.object({ kind: z.literal('batch_refused'), name: z.string() }),
  z.object({ kind: z.literal('batch_again'), name: z.string(), sent_at: z.number() }),
  z.object({ kind: z.literal('batch_created'), name: z.string(), batch_id: z.string() }),
  z.object({ kind: z.literal('batch_ended'), name: z.string() }),
])

/** A line of the journal. */
export type JournalEntry = z.output<typeof journalSchema>

/** When a run begins, and what it was told: written for people. */
interface ForPeople {
  readonly at?: string
  readonly options?: Readonly<Record<string, unknown>>
}

export const journalLine = (entry: JournalEntry & ForPeople): string => line(entry)

/** How the files of a job begin, and each of their lines: what does not is of something else. */
export const BEGINNINGS = {
  journal: '{"kind":"job","version":1,"input":{"path":',
  entry: '{"kind":',
  outcome: '{"id":',
} as const

export const headerOf = (path: string, { bytes, sha256 }: InputMark): JournalEntry => ({
  kind: 'job',
  version: 1,
  input: { path, bytes, sha256 },
})

/** Null where the bytes are no such record. */
export function recordIn<T extends z.ZodType>(schema: T, bytes: Buffer): z.output<T> | null {
  try {
    return schema.parse(JSON.parse(bytes.toString()))
  } catch {
    return null
  }
}

export const journalEntryIn = (bytes: Buffer): JournalEntry | null => recordIn(journalSchema, bytes)
