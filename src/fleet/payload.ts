// What a job is made of, and what becomes of each piece. Owns: these shapes. Must not know: how anything
// is sent, or where payloads come from.

/** What every request of Anthropic's Messages API has: the types of its SDK fit. */
export interface MessageFields {
  readonly model: string
  readonly max_tokens: number
  readonly messages: readonly unknown[]
}

/** A request of Anthropic's Messages API, as its `params` are written. `stream` is left out. */
export interface MessageParams extends MessageFields {
  readonly [key: string]: unknown
}

/** One prompt of a job. */
export interface Payload {
  /** Names it in its result; unique in its job. */
  readonly id: string
  readonly params: MessageParams
  readonly withinMs?: number
}

export interface CanWait {
  /** How long its answer may take, from when it is taken: work that can wait may go as a batch. 0: not at all. */
  readonly withinMs?: number
}

/** What a program may hand in: a payload, its `params` alone, or one as Anthropic's batches are written. */
export type PayloadInput =
  | ({ readonly id?: string; readonly params: MessageParams | MessageFields } & CanWait)
  | ({ readonly custom_id: string; readonly params: MessageParams | MessageFields } & CanWait)
  | MessageParams
  | MessageFields

/** Tokens by kind, as the provider has reported them. */
export interface TokensUsed {
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly output: number
}

interface Outcome {
  readonly id: string
  /** Of its payload in the job, from 0. */
  readonly index: number
  /** From the moment that it was taken up to the end of its answer. */
  readonly latencyMs: number
  /** How often it was sent. */
  readonly attempts: number
  /** Where it went with others in a batch of the provider's, at its price. */
  readonly via?: 'batch'
  /** The batch's name at the provider; null where none came about. */
  readonly batchId?: string | null
  /** Of all attempts; null where nothing is known. */
  readonly tokens: TokensUsed | null
  /** Integer nano-dollars of all attempts; null where the price is not known. */
  readonly costNanoUsd: number | null
  /** The same in dollars, for people. */
  readonly costUsd: number | null
}

export interface Answered extends Outcome {
  readonly kind: 'answered'
  /** The provider's message, as its JSON says. */
  readonly response: unknown
}

export interface Failed extends Outcome {
  readonly kind: 'failed'
  readonly error: {
    /** HTTP status of the last answer; null when there was none. */
    readonly status: number | null
    /** The provider's own type, or Headgate's reason. */
    readonly type: string
    readonly message: string
    /** Whether the same payload may succeed another time. */
    readonly isRetryable: boolean
  }
}

/** Comes last, when the job's money is spent: what was not sent yet is not sent. */
export interface BudgetExceeded {
  readonly kind: 'budget_exceeded'
  readonly spentNanoUsd: number
  readonly maxSpendUsd: number
}

/** Comes last, when a long window (an hour or more) is used up, where the job was told to stop then. */
export interface QuotaExhausted {
  readonly kind: 'quota_exhausted'
  /** In words: `2000000 tokens per 86400 s`. */
  readonly limit: string
  /** When there is room again, in milliseconds since the epoch. */
  readonly resumeAt: number
}

export type FleetResult = Answered | Failed | BudgetExceeded | QuotaExhausted
