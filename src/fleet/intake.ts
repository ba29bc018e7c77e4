// The payloads of a job, one by one. Owns: taking them from whatever gives them, their ids, and what is wrong
// with one. Must not know: when they are sent.
import { z } from 'zod'
import { ConfigError } from '../policy/problem.ts'
import { bodyOf } from './message-request.ts'
import type { PayloadInput } from './payload.ts'

/** Whatever a `for` loop can go through. */
export type PayloadSource = Iterable<PayloadInput> | AsyncIterable<PayloadInput>

export type Taken =
  | {
      readonly kind: 'payload'
      readonly index: number
      readonly id: string
      readonly model: string
      /** The request, as JSON: what its program does with it from now on changes nothing. */
      readonly body: Buffer
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
  withinMs: z.unknown().optional(),
})

/** Less than no time is none. */
const withinSchema = z
  .number()
  .transform((ms) => Math.max(0, ms))
  .optional()

export class Intake {
  readonly #source: Iterator<unknown> | AsyncIterator<unknown>
  #count = 0
  #isDone = false

  /**
   * @param source a `PayloadSource`, or what programs in JavaScript hand in instead
   * @throws ConfigError where no `for` loop goes through it
   */
  constructor(source: unknown) {
    this.#source = iteratorOf(source)
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

function iteratorOf(source: unknown): Iterator<unknown> | AsyncIterator<unknown> {
  if (typeof source === 'object' && source !== null) {
    if (isAsyncIterable(source)) return source[Symbol.asyncIterator]()
    if (isIterable(source) && !ArrayBuffer.isView(source)) return source[Symbol.iterator]()
  }
  const what = source === null ? 'null' : Array.isArray(source) ? 'a list' : `a ${typeof source}`
  throw new ConfigError([
    `payloads: is ${what}: give a list, or what a for loop goes through; readPayloads(path) gives those of a file`,
  ])
}

const isAsyncIterable = (source: object): source is AsyncIterable<unknown> =>
  Symbol.asyncIterator in source && typeof source[Symbol.asyncIterator] === 'function'

const isIterable = (source: object): source is Iterable<unknown> =>
  Symbol.iterator in source && typeof source[Symbol.iterator] === 'function'

/** Whatever it does when it is looked at, it is one failure and no more. */
function readPayload(input: unknown, index: number): Taken {
  let id = String(index)
  const bad = (why: string): Taken => {
    return { kind: 'bad', index, id, why: `This payload was not sent: ${why}.` }
  }
  try {
    const wrapped = wrappedSchema.safeParse(input).data
    const isWrapped = wrapped !== undefined && 'params' in wrapped && wrapped.params !== undefined
    if (isWrapped) id = wrapped.id ?? wrapped.custom_id ?? id
    const read = paramsSchema.safeParse(isWrapped ? wrapped.params : input)
    if (!read.success) {
      const problems = read.error.issues.map(({ path, message }) =>
        path.length === 0 ? 'it is no object' : message,
      )
      return bad(problems.join('; '))
    }
    const within = withinSchema.safeParse(isWrapped ? wrapped.withinMs : undefined)
    if (!within.success) return bad('withinMs is no number of milliseconds')
    const { model } = read.data
    const withinMs = within.data ?? null
    return { kind: 'payload', index, id, model, body: bodyOf(read.data), withinMs }
  } catch (error) {
    const [why] = (error instanceof Error ? error.message : String(error)).split('\n')
    return bad(`it cannot be written as JSON: ${why}`)
  }
}
