// What goes wrong with a lease, by what one does about it. Owns: the error classes, which answer becomes
// which, and their codes. Must not know: who noticed, or over which wire.

/** One thing that is wrong with what was asked. */
export interface FieldProblem {
  /** As it was written, such as `load.tokens`. */
  readonly field: string
  readonly detail: string
}

/** What the gate answered instead of a yes. */
export interface Problem {
  /** The status in HTTP, or the one that it would have. */
  readonly status: number
  /** A word for programs, such as `queue_full`. */
  readonly reason: string
  /** A sentence for people. */
  readonly detail: string
  /** Empty where no field is to blame. */
  readonly errors: readonly FieldProblem[]
  /** When asking again makes sense, in milliseconds; null where that is not known, or would not help. */
  readonly retryAfterMs: number | null
}

export type HeadgateErrorCode = 'REFUSED' | 'INVALID' | 'FORBIDDEN' | 'UNREACHABLE' | 'LEASE_LOST'

/** All errors of a lease. Two copies of the package do not share classes: `code` tells them apart too. */
export abstract class HeadgateError extends Error {
  abstract readonly code: HeadgateErrorCode
  /** Null where the gate said nothing. */
  readonly problem: Problem | null

  constructor(message: string, problem: Problem | null, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.problem = problem
  }
}

/** There is no room now, or not soon enough: ask again later, or do without. */
export class Refused extends HeadgateError {
  override readonly name = 'Refused'
  readonly code = 'REFUSED'
  override readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail, problem)
    this.problem = problem
  }

  get retryAfterMs(): number | null {
    return this.problem.retryAfterMs
  }
}

/** What was asked can never be granted: the program or the configuration has to change. */
export class Invalid extends HeadgateError {
  override readonly name = 'Invalid'
  readonly code = 'INVALID'
  override readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail, problem)
    this.problem = problem
  }

  get errors(): readonly FieldProblem[] {
    return this.problem.errors
  }
}

/** The key is missing, wrong, or does not open this. */
export class Forbidden extends HeadgateError {
  override readonly name = 'Forbidden'
  readonly code = 'FORBIDDEN'
  override readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail, problem)
    this.problem = problem
  }
}

/** The gate cannot be reached, or has no use of its store. `cause` is what was met last. */
export class Unreachable extends HeadgateError {
  override readonly name = 'Unreachable'
  readonly code = 'UNREACHABLE'
}

/** The lease ended before its holder ended it. The reason of its signal. */
export class LeaseLost extends HeadgateError {
  override readonly name = 'LeaseLost'
  readonly code = 'LEASE_LOST'
}

/** The error that a problem below 500 is. */
export function errorOf(problem: Problem): Refused | Invalid | Forbidden {
  switch (problem.status) {
    case 401:
    case 403:
      return new Forbidden(problem)
    case 409:
    case 429:
      return new Refused(problem)
    default:
      return new Invalid(problem)
  }
}
