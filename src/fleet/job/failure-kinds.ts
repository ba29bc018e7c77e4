// What a failure says of prompts other than its own. Owns: telling failures that any prompt would meet as well
// from those of one. Must not know: what is done about them.
import type { Failed } from '../payload.ts'

type Reason = Failed['error']

/** The key is not taken, or not paid for. */
const STATUSES: readonly (number | null)[] = [401, 402]

/** Anthropic says with a 400 that a prepaid account is empty, or that a limit of its own making is reached. */
const SPENT = /credit balance is too low|reached your specified (?:workspace )?API usage limits/

/** A budget of this gate's own configuration. */
const BUDGET_SPENT = 'budget_spent'

/** Whether the provider takes nothing more from this key until somebody has done something about it. */
export function isShutOut({ status, type, message, isRetryable }: Reason): boolean {
  // A 429 that no wait helps against: the organization's money for the month is spent.
  const isSpent = (status === 429 && !isRetryable) || (status === 400 && SPENT.test(message))
  return isSpent || type === BUDGET_SPENT || STATUSES.includes(status)
}

/** Whether nothing gets through at present. A 500 is none of these: a prompt may always meet that one. */
export function isPassing({ status, isRetryable }: Reason): boolean {
  return isRetryable && (status === null || status === 429 || status > 500)
}
