// What the gate is doing now, as users read it. Owns: the status document. Must not know: HTTP.
import { z } from 'zod'
import type { Binding, LimitSnapshot } from '../core/admission.ts'
import type { Clock } from '../core/clock.ts'
import type { ResourceSnapshot, Store } from '../core/store.ts'
import { describeBinding } from '../dispatch/wait-message.ts'
import type { StoreFailurePolicy } from '../policy/settings.ts'

export interface StatusSource {
  readonly clock: Clock
  readonly store: Store
  /** Only of a store that is shared: what is done while it is out of reach. */
  readonly onStoreFailure?: StoreFailurePolicy
}

const limitSchema = z.object({
  dimension: z.string(),
  amount: z.number(),
  /** Null for limits that have no window: concurrency. */
  windowMs: z.number().nullable(),
  remaining: z.number(),
  source: z.enum(['configured', 'learnt']),
  /** Kept back against errors of estimates and of timing. Only of learnt limits, as the next. */
  guard: z.number().optional(),
  /** What others take of the same quota. */
  othersPerMinute: z.number().optional(),
})

const resourceSchema = z.object({
  name: z.string(),
  inFlight: z.number(),
  queued: z.number(),
  /** When the next ticket can pass, in milliseconds since the epoch; null when only an event can tell. */
  nextAt: z.number().nullable(),
  /** What holds the head of the line back, in words. */
  boundBy: z.string().nullable(),
  pausedUntil: z.number().nullable(),
  /** How long the oldest ticket has waited. */
  oldestWaitMs: z.number().nullable(),
  limits: z.array(limitSchema),
})

/** What `GET /headgate/v1/status` answers. */
export const statusSchema = z.object({
  inFlight: z.number(),
  queued: z.number(),
  store: z.object({
    kind: z.string(),
    degraded: z.boolean(),
    /** Only of a store that is shared: what is done while it is out of reach. */
    onFailure: z.enum(['degrade', 'open', 'closed']).optional(),
  }),
  resources: z.array(resourceSchema),
})

export type Status = z.infer<typeof statusSchema>
export type ResourceStatus = z.infer<typeof resourceSchema>

export async function statusOf({
  clock,
  store,
  onStoreFailure: onFailure,
}: StatusSource): Promise<Status> {
  const snapshots = await store.snapshot()
  const now = clock.now()
  return {
    inFlight: sum(snapshots, ({ inFlight }) => inFlight),
    queued: sum(snapshots, ({ queued }) => queued),
    store: { kind: store.kind, degraded: store.isDegraded, ...(onFailure && { onFailure }) },
    resources: snapshots.map((snapshot) => resourceStatus(snapshot, now)),
  }
}

function resourceStatus(snapshot: ResourceSnapshot, now: number): ResourceStatus {
  const { name, inFlight, queued, nextAt, boundBy, pausedUntil, oldestEnqueuedAt } = snapshot
  return {
    name,
    inFlight,
    queued,
    nextAt: rounded(nextAt),
    boundBy: inWords(boundBy),
    pausedUntil: rounded(pausedUntil),
    oldestWaitMs: oldestEnqueuedAt === null ? null : Math.round(now - oldestEnqueuedAt),
    limits: snapshot.limits.map((limit: LimitSnapshot) => ({ ...limit })),
  }
}

const inWords = (binding: Binding | null): string | null => binding && describeBinding(binding)

const rounded = (instant: number | null): number | null => instant && Math.round(instant)

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0)
}
