// The ids of leases. Owns: what an id says, so that any process that shares the store can act on it.
// Must not know: whether there is such a lease, or who may end it.
import { hash } from 'node:crypto'

const OWNER_LENGTH = 12
const NONCE_LENGTH = 22

/** Base64url throughout: an id goes into a path as it is. */
const LEASE_ID = new RegExp(
  `^lease\\.([\\w-]+)\\.([\\w-]{${OWNER_LENGTH}})\\.[\\w-]{${NONCE_LENGTH}}$`,
)

/** What an id says of its lease. */
export interface LeaseFacts {
  /** As its store names it. */
  readonly resource: string
  /** Whose it is, as `ownerTag` writes it. */
  readonly owner: string
}

/** @param nonce of `createNonce` or `nonceOf` */
export function leaseId({ resource, owner }: LeaseFacts, nonce: string): string {
  return `lease.${Buffer.from(resource).toString('base64url')}.${owner}.${nonce}`
}

/** Null: it is no lease's id. */
export function readLeaseId(id: string): LeaseFacts | null {
  const [, encoded, owner] = LEASE_ID.exec(id) ?? []
  if (encoded === undefined || owner === undefined) return null
  return { resource: Buffer.from(encoded, 'base64url').toString(), owner }
}

/** Tells callers apart without naming them. */
export function ownerTag(caller: string): string {
  return hash('sha256', caller, 'base64url').slice(0, OWNER_LENGTH)
}

export function createNonce(randomBytes: (size: number) => Uint8Array): string {
  return Buffer.from(randomBytes(16)).toString('base64url')
}

/** The same for the same ask, in whatever process: so it finds its place again. */
export function nonceOf(caller: string, idempotencyKey: string, resource: string): string {
  return hash('sha256', [caller, idempotencyKey, resource].join('\n'), 'base64url').slice(
    0,
    NONCE_LENGTH,
  )
}
