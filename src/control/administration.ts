// What administrators work on, over HTTP and from the command line. Owns: what their work needs, and
// how it is refused. Must not know: HTTP, flags, or any one task.
import type { Clock } from '../core/clock.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { SubjectRules } from '../policy/subject.ts'

export interface Administration {
  readonly clock: Clock
  readonly ledger: Ledger
  /** What the configuration says now. */
  readonly rules: () => SubjectRules
  readonly randomBytes: (size: number) => Uint8Array
}

/** What was asked can't be done: `message` says why, and what to do. */
export class AdminRefusal extends Error {
  readonly code = 'ADMIN_REFUSAL'
  readonly reason: 'invalid' | 'not_found' | 'conflict'
  /** What is wrong of what was asked, such as `tier`; null: nothing in particular. */
  readonly field: string | null

  constructor(reason: AdminRefusal['reason'], field: string | null, message: string) {
    super(message)
    this.name = 'AdminRefusal'
    this.reason = reason
    this.field = field
  }
}
