// The payloads of a job, one by one. Owns: taking them from whatever gives them, their ids, and what is wrong
// with one. Must not know: when they are sent.
import { z } from 'zod'
import type { MessageParams, PayloadInput } from './payload.ts'

/** Whatever a `for` loop can go through. */
export type PayloadSource = Iterable<PayloadInput> | AsyncIterable<PayloadInput>

export type Taken =
  | {
      readonly kind: 'payload'
      readonly index: number
      readonly id: string
      readonly params: MessageParams
      /** Null where it says nothing of it. */
      readonly withinMs: number | null
    }
  | {
      readonly kind: 'bad'
      readonly index: number
      readonly id: string
      /** A sentence. */
      readonly why: string
    }

const paramsSchema = z.looseObject({
  model: z.string({ error: 'model is missing' }).min(1, { error: 'model is empty' }),
  max_tokens: z
    .int({ error: 'max_tokens is no whole number' })
    .min(0, { error: 'max_tokens is negative' }),
  messages: z.array(z.unknown(), { error: 'messages is no list' }),
})

const idSchema = z.union([z.string().min(1), z.int().transform(String)])

const wrappedSchema = z.looseObject({
  id: idSchema.optional().catch(undefined),
  custom_id: idSchema.optional().catch(undefined),
  params: z.unknown(),
  withinMs: z.number().nonnegative().optional().catch(undefined),
})

export class Intake {
  readonly #source: Iterator<unknown> | AsyncIterator<unknown>
  #count = 0
  #isDone = false

  constructor(source: PayloadSource) {
    this.#source =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  }

  /** How many were taken. */
  get count(): number {
    return this.#count
  }

  /** Null after the last one. Throws what the source throws. */
  async next(): Promise<Taken | null> {
    const { done, value } = await this.#source.next()
    this.#isDone ||= done === true
    return done ? null : readPayload(value, this.#count++)
  }

  /** Nothing more is wanted. */
  async close(): Promise<void> {
    if (!this.#isDone) await this.#source.return?.()
    this.#isDone = true
  }
}

function readPayload(input: unknown, index: number): Taken {
  const wrapped = wrappedSchema.safeParse(input).data
  const isWrapped = wrapped !== undefined && 'params' in wrapped && wrapped.params !== undefined
  const given = isWrapped ? (wrapped.id ?? wrapped.custom_id) : undefined
  const id = given ?? String(index)
  const read = paramsSchema.safeParse(isWrapped ? wrapped.params : input)
  const withinMs = (isWrapped ? wrapped.withinMs : undefined) ?? null
  if (read.success) return { kind: 'payload', index, id, params: read.data, withinMs }
  const problems = read.error.issues.map(({ path, message }) =>
    path.length === 0 ? 'it is no object' : message,
  )
  return { kind: 'bad', index, id, why: `This payload was not sent: ${problems.join('; ')}.` }
}
