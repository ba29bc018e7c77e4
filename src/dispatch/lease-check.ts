// May it go on now? Owns: that what is allowed is counted at once, and how the limit stands that
// matters most. Must not know: who asks.
import type { Binding } from '../core/admission.ts'
import { NOTHING } from '../core/cost.ts'
import type { Limit } from '../core/limit.ts'
import type { ResourceSnapshot, Store } from '../core/store.ts'
import { type LeaseRefusal, ofGate } from './lease-refusals.ts'
import type { LeaseTurn } from './lease-turn.ts'
import { capacityOf } from './limit-standing.ts'

export interface CheckAnswer {
  readonly kind: 'checked'
  /** Null: it is allowed. */
  readonly refusal: LeaseRefusal | null
  /** How much of the limit is taken that refuses, else of the one that has least left. */
  readonly count: number
  /** The most of it; null where no limit is known. */
  readonly max: number | null
}

/** @param turn that may not wait. @throws StoreUnreachable */
export async function checkTurn(
  store: Store,
  turn: LeaseTurn,
  limitsOf: (resource: string) => readonly Limit[],
): Promise<CheckAnswer> {
  const answer = await turn.take()
  const isRefused = answer.kind === 'refused'
  if (answer.kind === 'granted') await turn.settle(NOTHING, false)
  const at = isRefused ? answer.at : turn.request.resource
  const bound = isRefused ? answer.boundBy : null
  const usage = usageOf(await store.look(at), limitsOf(at), bound)
  return { kind: 'checked', refusal: isRefused ? ofGate(answer.refusal) : null, ...usage }
}

function usageOf(
  snapshot: ResourceSnapshot | null,
  configured: readonly Limit[],
  boundBy: Binding | null,
): Pick<CheckAnswer, 'count' | 'max'> {
  const bound = boundBy?.kind === 'limit' ? boundBy.limit : null
  const all = (snapshot?.limits ?? []).map((seen, index) => {
    const limit = configured[index]
    const isSame = limit?.dimension === seen.dimension && limit.amount === seen.amount
    const max = isSame ? capacityOf(limit) : seen.amount
    const count = Math.min(max, Math.max(0, Math.round(max - seen.remaining)))
    const isBound = bound?.dimension === seen.dimension && bound.amount === seen.amount
    return { count, max, isBound, left: seen.remaining / max }
  })
  const [tightest] = all.sort((a, b) => Number(b.isBound) - Number(a.isBound) || a.left - b.left)
  return tightest ? { count: tightest.count, max: tightest.max } : { count: 0, max: null }
}
