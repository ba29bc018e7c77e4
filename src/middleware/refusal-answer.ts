// A no, as the callers of an HTTP API read it. Owns: status, headers and body. Must not know: what was
// refused, or which framework sends it.
import { REFUSALS, type Refusal } from '../core/refusal.ts'

export interface RefusalBody {
  /** `rate_limit_exceeded` for every 429; else what is wrong, such as `budget_spent`. */
  readonly error: string
  /** One sentence: which limit, whose, what is left, when it frees. */
  readonly message: string
  /** The limit that binds, such as `10 requests per 60 s`; null where it is none. */
  readonly limit: string | null
  /** Seconds; null where trying again does not help, or nobody knows when it does. */
  readonly retry_after: number | null
}

export interface RefusalAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: RefusalBody
}

export function answerTo(refusal: Refusal, limit: string | null = null): RefusalAnswer {
  const { reason, message, retryAfterMs, headers } = refusal
  const { status } = REFUSALS[reason]
  const retryAfter = retryAfterMs === null ? null : Math.max(1, Math.ceil(retryAfterMs / 1000))
  return {
    status,
    headers: { ...headers, ...(retryAfter !== null && { 'retry-after': String(retryAfter) }) },
    body: {
      error: status === 429 ? 'rate_limit_exceeded' : reason,
      message,
      limit,
      retry_after: retryAfter,
    },
  }
}

/**
 * A reservation was refused. Not caught, it becomes the answer: frameworks read `status`, `statusCode`
 * and `headers` of an error, or ask it for its response.
 */
export class LimitReached extends Error {
  readonly code = 'LIMIT_REACHED'
  readonly answer: RefusalAnswer
  /** The message is meant for the caller. */
  readonly expose = true

  constructor(answer: RefusalAnswer) {
    super(answer.body.message)
    this.name = 'LimitReached'
    this.answer = answer
  }

  get status(): number {
    return this.answer.status
  }

  get statusCode(): number {
    return this.answer.status
  }

  get headers(): RefusalAnswer['headers'] {
    return this.answer.headers
  }

  getResponse(): Response {
    const { status, headers, body } = this.answer
    return Response.json(body, { status, headers: { ...headers } })
  }
}

/** Its caller went away while a reservation waited: nobody is left to answer. */
export class CallerGone extends Error {
  readonly code = 'CALLER_GONE'

  constructor() {
    super('the caller went away while a reservation waited for its turn')
    this.name = 'CallerGone'
  }
}
