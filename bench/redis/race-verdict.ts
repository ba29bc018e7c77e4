// What came of a race. Owns: joining the gate's journal, the provider's log and the workers' reports
// to figures, and which of those are failures. Must not know: processes.
import type { Limit } from '../../src/core/limit.ts'
import {
  type Books,
  booksOf,
  excessOf,
  mostAtOnce,
  saturation,
  type Take,
  toleranceOf,
  useOf,
} from './race-checks.ts'
import type { Entry } from './race-journal.ts'
import { LEASE_MS, limitsFor, PHASES, SLOTS, type Start } from './race-plan.ts'
import type { ProviderLog } from './race-provider.ts'
import type { WorkerReport } from './race-worker.ts'

export interface Troubles {
  readonly plan: Start & { readonly seconds: number }
  readonly journal: readonly Entry[]
  readonly log: ProviderLog
  readonly reports: readonly (WorkerReport | 'stuck')[]
  readonly killed: readonly { readonly name: string; readonly at: number }[]
  readonly stopped: readonly { readonly name: string; readonly from: number; readonly to: number }[]
  readonly snapshot: { readonly inFlight: number; readonly queued: number }
  /** As Redis has measured it itself. */
  readonly slowestOperationMs: number
}

interface LimitVerdict {
  readonly limit: string
  /** Beyond what is allowed, in the fullest window, by the instants of the grants. */
  readonly excess: number
  /** The same by the provider's log, of those sent in time, and how much narrower windows must be. */
  readonly arrivalExcess: number
  readonly arrivalToleranceMs: number
}

export interface Verdict {
  readonly limits: readonly LimitVerdict[]
  readonly mostAtOnce: {
    readonly gate: number
    /** With leases that had expired, and whose holders had only been stopped. */
    readonly withThoseBack: number
    readonly provider: number
    readonly allowed: number
  }
  /** Of the limit that binds; sliding windows give back up to a sixtieth late, so that 98.36 is all. */
  readonly usedPercent: Readonly<Record<string, number>>
  /** For how much of that time somebody waited: for less than all of it the figure above is no fair one. */
  readonly saturatedPercent: Readonly<Record<string, number>>
  readonly grants: number
  readonly answered: number
  readonly arrivals: number
  readonly arrivedTwice: number
  /** Their first grant had expired before they could hear of it. */
  readonly grantedAnew: number
  /** Let in, sent, and charged once more. */
  readonly chargedTwice: number
  /** Sent without any grant of the shared gate: by processes that could not reach it. */
  readonly sentAlone: number
  /** From grant to arrival. */
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly most: number }
  /** Sent after the grant had expired: by processes that had been stopped. */
  readonly arrivedAfterExpiry: number
  readonly killed: number
  readonly stopped: number
  readonly leasesExpired: number
  /** Of all slots in the whole race, what dead and stopped processes held in vain. */
  readonly slotsLostPercent: number
  /** Of the input that was charged, what never came to the provider. */
  readonly chargedInVainPercent: number
  /** Inside Redis. Where this is short and processes still went on alone, the machine was too busy. */
  readonly slowestOperationMs: number
  readonly settledTooLate: number
  readonly toldTwice: number
  readonly degraded: number
  readonly stuck: number
  readonly left: { readonly inFlight: number; readonly queued: number }
  readonly errors: readonly string[]
  readonly failures: readonly string[]
}

/** The limit that binds each phase, by its place in the stack. */
const BOUND_BY = { requests: 0, input: 1, output: 2, slots: 4 } as const

const CLOCKS_DIFFER_MS = 1

export function judge(troubles: Troubles): Verdict {
  const { plan, journal, log, reports, killed, stopped, snapshot } = troubles
  const books = booksOf(journal)
  const all = arrivalsOf(log, books)
  const grants = Map.groupBy(books.takes, ({ id }) => id)
  const delayOf = ({ id, at }: Take): number => at - grantBefore(grants.get(id) ?? [], at)
  const granted = all.filter(({ id, at }) => isGranted(grants, id, at))
  const inTime = granted.filter((take) => delayOf(take) <= LEASE_MS)
  const delays = inTime.map(delayOf).sort((a, b) => a - b)
  const told = reports.filter((report) => report !== 'stuck')
  const sum = (of: (report: WorkerReport) => number): number =>
    told.reduce((total, report) => total + of(report), 0)
  const figures = {
    limits: limitsFor(plan.seconds)
      .filter(({ algorithm }) => algorithm !== 'concurrency')
      .map((limit) => limitVerdict(limit, books, inTime)),
    mostAtOnce: {
      gate: mostAtOnce(books.leases.filter(({ isBack }) => !isBack)),
      withThoseBack: mostAtOnce(books.leases),
      provider: log.maxInFlight,
      allowed: SLOTS,
    },
    usedPercent: byPhase(plan, (limit, from, to) => useOf(limit, books, from, to)),
    saturatedPercent: byPhase(plan, (_limit, from, to) => saturation(journal, from, to)),
    grants: books.takes.length,
    answered: sum(({ answered }) => answered),
    arrivals: all.length,
    arrivedTwice: all.length - new Set(all.map(({ id }) => id)).size,
    grantedAnew: [...grants.values()].filter(({ length }) => length > 1).length,
    chargedTwice: all.filter(
      ({ id, at }) => isGranted(grants, id, at) && isGrantedAfter(grants.get(id) ?? [], at),
    ).length,
    sentAlone: all.filter(({ id, at }) => !isGranted(grants, id, at)).length,
    delayMs: { p50: at(delays, 0.5), p99: at(delays, 0.99), most: at(delays, 1) },
    arrivedAfterExpiry: granted.length - inTime.length,
    killed: killed.length,
    stopped: stopped.length,
    leasesExpired: books.leases.filter(({ hasExpired }) => hasExpired).length,
    slotsLostPercent: slotsLost(books, troubles),
    chargedInVainPercent: chargedInVain(books, all),
    slowestOperationMs: troubles.slowestOperationMs,
    settledTooLate: sum(({ settledTooLate }) => settledTooLate),
    toldTwice: sum(({ toldTwice }) => toldTwice),
    degraded: sum(({ degraded }) => degraded),
    stuck: reports.length - told.length,
    left: snapshot,
    errors: [...new Set(told.flatMap(({ errors }) => errors))],
  }
  return { ...figures, failures: failuresOf(figures) }
}

/** The last grant before an arrival. The clocks of two processes differ by up to a millisecond. */
function grantBefore(grants: readonly Take[], arrivedAt: number): number {
  const before = grants.filter(({ at }) => at <= arrivedAt + CLOCKS_DIFFER_MS)
  return before.at(-1)?.at ?? Number.NEGATIVE_INFINITY
}

function isGranted(
  grants: ReadonlyMap<string, readonly Take[]>,
  id: string,
  arrivedAt: number,
): boolean {
  return (grants.get(id) ?? []).some(({ at }) => at <= arrivedAt + CLOCKS_DIFFER_MS)
}

function isGrantedAfter(grants: readonly Take[], arrivedAt: number): boolean {
  return grants.some(({ at }) => at > arrivedAt + CLOCKS_DIFFER_MS)
}

function limitVerdict(limit: Limit, books: Books, arrivals: readonly Take[]): LimitVerdict {
  return {
    limit: nameOf(limit),
    excess: round(excessOf(limit, books.takes), 3),
    arrivalExcess: round(excessOf(limit, arrivals), 3),
    arrivalToleranceMs: round(toleranceOf(limit, arrivals), 1),
  }
}

/** What came to the provider: input as it counted it there, output as it was settled. */
function arrivalsOf({ arrivals }: ProviderLog, { takes }: Books): readonly Take[] {
  const output = new Map(takes.map(({ id, output_tokens }) => [id, output_tokens]))
  return arrivals.map(({ at, ticket, inputTokens }) => ({
    id: ticket,
    at,
    requests: 1,
    input_tokens: inputTokens,
    output_tokens: output.get(ticket) ?? 0,
  }))
}

/** A share in per cent for each phase, once the line of the phase before has passed. */
function byPhase(
  { startAt, seconds }: Troubles['plan'],
  shareOf: (limit: Limit, from: number, to: number) => number,
): Record<string, number> {
  const phaseMs = (seconds * 1000) / PHASES.length
  const limits = limitsFor(seconds)
  const shares = PHASES.map((phase, index) => {
    const limit = limits[BOUND_BY[phase]]
    const from = startAt + phaseMs * (index + 1 / 3)
    const to = startAt + phaseMs * (index + 1)
    return [phase, limit ? round(100 * shareOf(limit, from, to), 2) : 0]
  })
  return Object.fromEntries(shares)
}

function slotsLost({ leases }: Books, { plan, killed, stopped }: Troubles): number {
  const lost = leases.filter(({ hasExpired }) => hasExpired)
  const lostMs = lost.reduce((sum, lease) => {
    const name = lease.id.split('/')[1]
    const death = killed.find((one) => one.name === name)?.at
    const pauses = stopped.filter((one) => one.name === name).map(({ from }) => from)
    const from = death ?? pauses.find((pausedAt) => pausedAt < lease.to) ?? lease.from
    return sum + Math.max(0, lease.to - Math.max(from, lease.from))
  }, 0)
  return round((100 * lostMs) / (SLOTS * plan.seconds * 1000), 2)
}

function chargedInVain({ takes }: Books, arrivals: readonly Take[]): number {
  const arrived = arrivals.reduce((sum, { input_tokens }) => sum + input_tokens, 0)
  const charged = takes.reduce((sum, { input_tokens }) => sum + input_tokens, 0)
  return round(100 * (1 - arrived / charged), 2)
}

function failuresOf(verdict: Omit<Verdict, 'failures'>): string[] {
  const { limits, mostAtOnce: most, usedPercent, saturatedPercent, left } = verdict
  const isTooSmall = Object.entries(usedPercent).filter(
    ([phase, percent]) => percent < 98 && (saturatedPercent[phase] ?? 0) >= 99.5,
  )
  return [
    ...limits.filter(({ excess }) => excess > 0.01).map(({ limit }) => `${limit} exceeded`),
    ...(most.gate > most.allowed ? ['more leases than slots'] : []),
    ...isTooSmall.map(([phase, percent]) => `${percent} % used while ${phase} bound`),
    ...(verdict.chargedTwice > 0 ? ['charged twice'] : []),
    ...(verdict.arrivedAfterExpiry > 0 ? ['sent after the lease had expired'] : []),
    ...(verdict.arrivedTwice > 0 ? ['sent twice'] : []),
    ...(verdict.sentAlone > 0 ? ['sent without a grant of the shared gate'] : []),
    ...(verdict.degraded > 0 ? [`no race: ${verdict.degraded} went on alone for a while`] : []),
    ...(verdict.stuck > 0 ? ['callers that never end'] : []),
    ...(left.inFlight + left.queued > 0 ? ['something is left'] : []),
  ]
}

export function tableOf(verdict: Verdict): string[][] {
  const { limits, mostAtOnce: most, usedPercent, delayMs, left } = verdict
  const rows = Object.entries(verdict).flatMap(([name, value]) =>
    typeof value === 'number' ? [[name, String(value)]] : [],
  )
  return [
    ['what', 'figure'],
    ...limits.map(({ limit, excess, arrivalExcess, arrivalToleranceMs }) => [
      `${limit}: beyond it at most`,
      `${excess} by grants, ${arrivalExcess} by arrivals (none with ${arrivalToleranceMs} ms of tolerance)`,
    ]),
    [
      'at once',
      `${most.gate} leases (${most.withThoseBack} with those of processes that woke), ` +
        `${most.provider} at the provider, of ${most.allowed}`,
    ],
    ...Object.entries(usedPercent).map(([phase, percent]) => [
      `used while ${phase} bound`,
      `${percent} % (somebody waited for ${verdict.saturatedPercent[phase]} % of the time)`,
    ]),
    ['grant to arrival, p50 / p99 / most', `${delayMs.p50} / ${delayMs.p99} / ${delayMs.most} ms`],
    ...rows,
    ['left at the end', `${left.inFlight} in flight, ${left.queued} queued`],
    ['errors', verdict.errors.slice(0, 5).join('; ') || '–'],
  ]
}

function nameOf(limit: Limit): string {
  if (!('windowMs' in limit)) return `${limit.amount} slots`
  return `${round(limit.amount, 0)} ${limit.dimension} in ${round(limit.windowMs / 1000, 2)} s, ${limit.algorithm}`
}

function at(sorted: readonly number[], part: number): number {
  const index = Math.min(sorted.length - 1, Math.floor(part * sorted.length))
  return round(sorted[index] ?? 0, 1)
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
