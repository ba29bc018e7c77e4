// What is wished for, before it is asked of a store. Owns: the shape of a wish, and what it means by the
// policy that is in force. Must not know: what becomes of it.
import type { EpochMs } from '../core/clock.ts'
import { NOTHING } from '../core/cost.ts'
import type { Lane } from '../core/lane.ts'
import type { Store } from '../core/store.ts'
import { PLACE_TTL_MS } from './lease-ask.ts'
import { createNonce, leaseId, nonceOf, ownerTag } from './lease-id.ts'
import { costOfLoad, excessOf, type Load } from './lease-load.ts'
import { type FoundResource, findResource } from './lease-names.ts'
import type { LeaseCaller, LeasePolicy } from './lease-policy.ts'
import { leaseRefusal } from './lease-refusals.ts'
import type { LeaseRequest } from './lease-turn.ts'

export interface CheckWish {
  readonly caller: LeaseCaller
  readonly resource: string
  readonly load: Load
  readonly lane: Lane | null
  readonly flow: string | null
}

export interface LeaseWish extends CheckWish {
  /** Null: as long as the configuration lets requests wait. */
  readonly maxWaitMs: number | null
  readonly ttlMs: number | null
  /** The same key again, with the same caller and resource, is the same ask. */
  readonly idempotencyKey: string | null
  /** It had a place, and lost the connection that it waited on. */
  readonly isResumed: boolean
}

/** The resource that is meant, if it can ever bear the load. @throws StoreUnreachable */
export async function resourceFor(
  { resource: name, load }: CheckWish,
  policy: LeasePolicy,
  store: Store,
): Promise<FoundResource> {
  const found = await findResource(name, policy, store)
  if (found.kind === 'refused') return found
  const snapshot = found.isLearnt ? await store.look(found.resource) : null
  const excess = excessOf(load, policy.limitsOf(found.resource), snapshot)
  if (!excess) return found
  const { field, detail } = excess
  const message = `${field} ${detail}.`
  return { kind: 'refused', refusal: leaseRefusal('load_too_large', message, { field }) }
}

export function requestFor(
  { caller, lane, flow, load }: CheckWish,
  { subjects }: LeasePolicy,
  { resource, isLearnt }: Extract<FoundResource, { kind: 'found' }>,
  more: { readonly id: string; readonly deadlineAt: EpochMs },
): Omit<LeaseRequest, 'holder'> {
  const subject = subjects.of(caller.identity)
  const unit = subject.flow ?? flow ?? caller.name
  return { ...more, resource, isLearnt, subject, lane, flow: unit, estimate: costOfLoad(load) }
}

/** What is known of an ask by its id: enough to look at it, to renew and to end it. */
export function requestOf(
  caller: LeaseCaller,
  { subjects }: LeasePolicy,
  id: string,
  resource: string,
): LeaseRequest {
  return {
    id,
    resource,
    isLearnt: resource.includes('/'),
    subject: subjects.of(caller.identity),
    lane: null,
    flow: caller.name,
    estimate: NOTHING,
    deadlineAt: 0,
    holder: { id, ttlMs: PLACE_TTL_MS },
  }
}

/** The same for the same idempotency key, whichever process is asked. */
export function idFor(
  { caller, idempotencyKey }: LeaseWish,
  resource: string,
  randomBytes: (size: number) => Uint8Array,
): string {
  const nonce =
    idempotencyKey === null
      ? createNonce(randomBytes)
      : nonceOf(caller.name, idempotencyKey, resource)
  return leaseId({ resource, owner: ownerTag(caller.name) }, nonce)
}
