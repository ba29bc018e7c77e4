// What one process may admit on its own while the shared gates are out of reach. Owns: the settings
// of a local gate in place of a shared one. Must not know: any gate, or when this is needed.
import type { GateSettings, LimitSnapshot } from '../../core/admission.ts'
import type { CostVector } from '../../core/cost.ts'
import type { Limit } from '../../core/limit.ts'

/**
 * Without its shared gates a process goes on with its share of the limits (`degrade`), without limits
 * (`open`), or takes nobody new (`closed`).
 */
export type FailurePolicy = 'degrade' | 'open' | 'closed'

/** What is known of a shared gate. */
export interface Known {
  readonly instances: number
  /** Its limits as it said last, in its order: configured ones as in the settings, then learnt ones. */
  readonly limits: readonly LimitSnapshot[]
  /** What this process has taken since then. */
  readonly taken: CostVector
}

const DEFAULT_WINDOW_MS = 60_000

export function localSettings(
  policy: FailurePolicy,
  settings: GateSettings,
  known: Known,
): GateSettings {
  // Nothing is learnt meanwhile: the provider's answers speak of all processes together.
  if (policy === 'open') return { ...settings, limits: [], learns: false }
  const whole = wholeLimits(settings.limits, known.limits)
  return {
    ...settings,
    limits: whole.map(({ limit }) => shareOf(limit, known.instances)),
    used: whole.map(({ limit, last }) => usedOf(limit, last, known)),
    learns: false,
  }
}

interface WholeLimit {
  readonly limit: Limit
  readonly last: LimitSnapshot | null
}

function wholeLimits(
  configured: readonly Limit[],
  snapshots: readonly LimitSnapshot[],
): readonly WholeLimit[] {
  const written = snapshots.filter(({ source }) => source === 'configured')
  const learnt = snapshots.filter(({ source }) => source === 'learnt')
  return [
    ...configured.map((limit, index) => ({ limit, last: sameAs(limit, written[index]) })),
    ...learnt.flatMap((last) => {
      const limit = learntLimit(last)
      return limit ? [{ limit, last }] : []
    }),
  ]
}

/** Processes of other settings may have configured the shared gate otherwise. */
function sameAs(limit: Limit, last: LimitSnapshot | undefined): LimitSnapshot | null {
  return last?.dimension === limit.dimension && last.amount === limit.amount ? last : null
}

/** As it was learnt: what others take is not there to be shared, what is kept back stays so. */
function learntLimit(last: LimitSnapshot): Limit | null {
  const { dimension, guard = 0, othersPerMinute = 0 } = last
  if (dimension === 'concurrency') return null
  const windowMs = last.windowMs ?? DEFAULT_WINDOW_MS
  const amount = last.amount - (othersPerMinute * windowMs) / 60_000
  const burst = last.amount - guard
  return { algorithm: 'token_bucket', dimension, amount, burst, windowMs, source: 'learnt' }
}

function shareOf(limit: Limit, instances: number): Limit {
  if (limit.algorithm === 'concurrency')
    return { ...limit, amount: Math.max(1, Math.floor(limit.amount / instances)) }
  const amount = limit.amount / instances
  if (limit.algorithm !== 'token_bucket' || limit.burst === undefined) return { ...limit, amount }
  return { ...limit, amount, burst: limit.burst / instances }
}

/** Of what was used by then an equal share, and all that this process has taken since. */
function usedOf(limit: Limit, last: LimitSnapshot | null, known: Known): number {
  const { dimension } = limit
  if (dimension === 'concurrency') return 0
  const used = last ? capacityOf(limit, last) - last.remaining : 0
  return Math.max(0, used) / known.instances + Math.max(0, known.taken[dimension])
}

/** What a learnt limit keeps back is no part of its share, nor of what is left of it. */
function capacityOf(limit: Limit, last: LimitSnapshot): number {
  if (limit.source === 'learnt') return last.amount
  return limit.algorithm === 'token_bucket' ? (limit.burst ?? limit.amount) : limit.amount
}
