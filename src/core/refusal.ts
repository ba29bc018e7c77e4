// Every no that Headgate itself says. Owns: the table of reasons, each with its HTTP status, and
// whether trying again can help. Must not know: any provider's error shape.

export interface RefusalKind {
  readonly status: number
  /** Whether the same request may succeed later: what SDKs are told in `x-should-retry`. */
  readonly retryable: boolean
}

export const REFUSALS = {
  queue_full: { status: 429, retryable: true },
  wait_too_long: { status: 429, retryable: true },
  waited_out: { status: 429, retryable: true },
  /** A limit of the caller's own, rather than the provider's. */
  limit_reached: { status: 429, retryable: true },
  budget_spent: { status: 402, retryable: false },
  price_unknown: { status: 403, retryable: false },
  tokens_over_cap: { status: 413, retryable: false },
  model_forbidden: { status: 403, retryable: false },
  key_missing: { status: 401, retryable: false },
  key_unknown: { status: 401, retryable: false },
  key_revoked: { status: 401, retryable: false },
  key_expired: { status: 401, retryable: false },
  /** The key is good, and does not open this. */
  scope_missing: { status: 403, retryable: false },
  ledger_failed: { status: 503, retryable: true },
  store_failed: { status: 503, retryable: true },
  shutting_down: { status: 503, retryable: true },
  memory_full: { status: 503, retryable: true },
  body_too_large: { status: 413, retryable: false },
  bad_request: { status: 400, retryable: false },
  forbidden: { status: 403, retryable: false },
  unknown_path: { status: 404, retryable: false },
  upstream_unreachable: { status: 502, retryable: true },
  upstream_broken: { status: 502, retryable: true },
  upstream_timeout: { status: 504, retryable: true },
} as const satisfies Record<string, RefusalKind>

export type RefusalReason = keyof typeof REFUSALS

export interface Refusal {
  readonly reason: RefusalReason
  /** One sentence for a person: which limit, whose, how much is left, when it frees. */
  readonly message: string
  /** When trying again makes sense, or null where it is not known. */
  readonly retryAfterMs: number | null
  /** More for the caller to read: limits and what is left of them. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
}
