// What the operator's policy says to the desk where leases are asked for. Owns: the shape, and who a
// caller is there. Must not know: where it comes from.
import type { Limit } from '../core/limit.ts'
import type { LeaseSettings } from '../policy/settings.ts'
import type { Identity } from '../policy/subject.ts'
import type { Subjects } from '../policy/subjects.ts'

export interface LeasePolicy {
  readonly leases: LeaseSettings
  /** How long an ask waits that says nothing of it. */
  readonly maxWaitMs: number
  readonly resources: ReadonlyMap<string, readonly Limit[]>
  readonly subjects: Subjects
  /** The limits that are configured for a resource, by its name in the store. */
  readonly limitsOf: (resource: string) => readonly Limit[]
  /** What the gate's own key draws on, of a provider's group of models; null where it has no such key, or no model has this name. */
  readonly ownResource: (provider: string, group: string) => string | null
}

export interface LeaseCaller {
  /** Tells callers apart: its key, else the user that it names. */
  readonly name: string
  readonly identity: Identity
  /** Whether it sees and ends everybody's leases. */
  readonly seesAll: boolean
}

export function callerOf(identity: Identity, seesAll: boolean): LeaseCaller {
  const { key, user } = identity
  const name = key !== null ? `key:${key}` : user !== null ? `user:${user}` : 'anonymous'
  return { name, identity, seesAll }
}
