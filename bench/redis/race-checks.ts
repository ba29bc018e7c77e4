// Whether limits were kept, and how much of them was used. Owns: both, from lists of what was taken
// when, without any of the gate's own arithmetic. Must not know: processes, where the lists come from.
import type { Limit } from '../../src/core/limit.ts'
import type { Entry } from './race-journal.ts'

/** Something that was taken of all limits at an instant. */
export interface Take {
  readonly id: string
  readonly at: number
  readonly requests: number
  readonly input_tokens: number
  readonly output_tokens: number
}

export interface Lease {
  readonly id: string
  readonly from: number
  readonly to: number
  readonly hasExpired: boolean
  /** It had expired, and its holder came back with it: that no limit can prevent. */
  readonly isBack: boolean
}

export interface Books {
  /** What each grant has cost in the end, as of its instant. */
  readonly takes: readonly Take[]
  readonly leases: readonly Lease[]
  /** Leases whose end nobody wrote down. */
  readonly open: number
}

type Counted = 'requests' | 'input_tokens' | 'output_tokens'

interface Open {
  readonly from: number
  readonly isBack: boolean
}

/** What the journal comes to. What corrects a ticket is meant for its last grant. */
export function booksOf(journal: readonly Entry[]): Books {
  const takes: (Take | null)[] = []
  const last = new Map<string, number>()
  const open = new Map<string, Open>()
  const expired = new Set<string>()
  const leases: Lease[] = []
  for (const { kind, at, id, inputTokens, outputTokens } of journal) {
    const cost = { requests: 1, input_tokens: inputTokens, output_tokens: outputTokens }
    const index = last.get(id) ?? -1
    const take = takes[index]
    if (kind === 'grant' || kind === 'spent') last.set(id, takes.push({ id, at, ...cost }) - 1)
    if (kind === 'cost' && take) takes[index] = { ...take, ...cost }
    if (kind === 'refund' && take) takes[index] = null
    if (kind === 'expire') expired.add(id)
    if (kind === 'grant' || kind === 'again') open.set(id, { from: at, isBack: kind === 'again' })
    if (kind !== 'end') continue
    const { from, isBack } = open.get(id) ?? { from: at, isBack: false }
    leases.push({ id, from, to: at, hasExpired: expired.delete(id), isBack })
    open.delete(id)
  }
  return { takes: takes.filter((take) => take !== null), leases, open: open.size }
}

/** The most that any window of a limit has had beyond what it may have; 0 or less is as it should be. */
export function excessOf(limit: Limit, takes: readonly Take[], narrowerByMs = 0): number {
  const { dimension } = limit
  if (!isCounted(dimension) || limit.algorithm === 'concurrency') return 0
  if (limit.algorithm === 'token_bucket') {
    const rate = limit.amount / limit.windowMs
    const slack = narrowerByMs * rate
    return excessOfBucket(dimension, rate, (limit.burst ?? limit.amount) + slack, takes)
  }
  const fullest = windowSums(dimension, limit.windowMs - narrowerByMs, takes)
  return fullest.reduce((most, sum) => Math.max(most, sum), 0) - limit.amount
}

/** For each take, the sum of the window that it is the last of. */
function windowSums(dimension: Counted, windowMs: number, takes: readonly Take[]): number[] {
  let first = 0
  let sum = 0
  return takes.map((take) => {
    sum += take[dimension]
    for (let old = takes[first]; old && old.at <= take.at - windowMs; old = takes[++first])
      sum -= old[dimension]
    return sum
  })
}

/** Between any two takes no more than the burst and what has been refilled meanwhile. */
function excessOfBucket(
  dimension: Counted,
  ratePerMs: number,
  capacity: number,
  takes: readonly Take[],
): number {
  let worst = Number.NEGATIVE_INFINITY
  let missing = 0
  let before = takes[0]?.at ?? 0
  for (const take of takes) {
    missing = Math.max(0, missing - (take.at - before) * ratePerMs) + take[dimension]
    before = take.at
    worst = Math.max(worst, missing - capacity)
  }
  return worst
}

/** By how much narrower windows must be so that none has too much: how far arrivals bunch up. */
export function toleranceOf(limit: Limit, arrivals: readonly Take[]): number {
  const longest = limit.algorithm === 'sliding_window' ? limit.windowMs : 60_000
  if (excessOf(limit, arrivals) <= EPSILON) return 0
  let [low, high] = [0, longest]
  while (high - low > 0.1) {
    const middle = (low + high) / 2
    if (excessOf(limit, arrivals, middle) <= EPSILON) high = middle
    else low = middle
  }
  return high
}

/** Refills are sums of fractions. */
const EPSILON = 1e-3

/** The share of a limit that was used from one instant to another. */
export function useOf(limit: Limit, books: Books, from: number, to: number): number {
  switch (limit.algorithm) {
    case 'concurrency':
      return heldMs(books.leases, from, to) / (limit.amount * (to - from))
    case 'token_bucket': {
      const { dimension } = limit
      if (!isCounted(dimension)) return 0
      const within = books.takes.filter(({ at }) => at >= from && at < to)
      const used = within.reduce((sum, take) => sum + take[dimension], 0)
      return used / ((limit.amount * (to - from)) / limit.windowMs)
    }
    default:
      return fullness(limit, books.takes, from + limit.windowMs, to)
  }
}

/** How full the window is, on average over its positions. */
function fullness(limit: Limit, takes: readonly Take[], from: number, to: number): number {
  const { dimension } = limit
  if (!isCounted(dimension) || !('windowMs' in limit)) return 0
  // Each take is in the windows that end in the `windowMs` after it.
  const covered = takes.reduce((sum, take) => {
    const ms = Math.min(to, take.at + limit.windowMs) - Math.max(from, take.at)
    return sum + Math.max(0, ms) * take[dimension]
  }, 0)
  return covered / ((to - from) * limit.amount)
}

export function heldMs(leases: readonly Lease[], from: number, to: number): number {
  return leases.reduce(
    (sum, lease) => sum + Math.max(0, Math.min(to, lease.to) - Math.max(from, lease.from)),
    0,
  )
}

/** The share of a time in which somebody waited: from one grant to the next as the first left the line. */
export function saturation(journal: readonly Entry[], from: number, to: number): number {
  const grants = journal.filter(({ kind }) => kind === 'grant')
  const waitedMs = grants.reduce((sum, { at, waiting }, index) => {
    const next = grants[index + 1]?.at ?? at
    return waiting > 0 ? sum + Math.max(0, Math.min(to, next) - Math.max(from, at)) : sum
  }, 0)
  return waitedMs / (to - from)
}

/** The most leases at one instant. A slot that is freed can be taken at that very instant. */
export function mostAtOnce(leases: readonly Lease[]): number {
  const changes = leases
    .flatMap(({ from, to }) => [
      { at: from, by: 1 },
      { at: to, by: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.by - b.by)
  let [held, most] = [0, 0]
  for (const { by } of changes) {
    held += by
    most = Math.max(most, held)
  }
  return most
}

function isCounted(dimension: string): dimension is Counted {
  return dimension === 'requests' || dimension === 'input_tokens' || dimension === 'output_tokens'
}
