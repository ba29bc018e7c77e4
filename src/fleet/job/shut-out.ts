// Failures that all other prompts of a job would meet as well. Owns: telling them from those of one prompt.
// Must not know: what is done about them.
import type { Failed } from '../payload.ts'

/** The key is not taken, or not paid for. */
const STATUSES: readonly (number | null)[] = [401, 402]

/** Anthropic says with a 400 that a prepaid account is empty, or that a limit of its own making is reached. */
const SPENT = /credit balance is too low|reached your specified (?:workspace )?API usage limits/

/** Whether the provider takes nothing more from this key until somebody has done something about it. */
export function isShutOut({ status, message, isRetryable }: Failed['error']): boolean {
  // A 429 that no wait helps against: the organization's money for the month is spent.
  const isSpent = (status === 429 && !isRetryable) || (status === 400 && SPENT.test(message))
  return isSpent || STATUSES.includes(status)
}
