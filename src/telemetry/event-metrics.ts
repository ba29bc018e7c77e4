// What has happened, in numbers. Owns: the metrics that count events; its methods are named as the
// events are. Must not know: who tells, or anything of a request but what a label or a bucket takes.
import { Counter, Histogram, Registry } from 'prom-client'
import type { Clock, EpochMs } from '../core/clock.ts'

/** In seconds. The last is the default of the longest wait. */
const QUEUED_BUCKETS = [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600]

const NANO = 1e9

/** Labels have few values, whatever callers send: no flow, model or resource is among them. */
export class EventMetrics {
  readonly registry = new Registry()
  readonly #clock: Clock
  /** The time without the store is counted up to here; null while it is there. */
  #degradedSince: EpochMs | null = null

  readonly #queued = new Histogram({
    name: 'headgate_queued_seconds',
    help: 'How long settled requests waited in line, all their turns together.',
    labelNames: ['lane'],
    buckets: QUEUED_BUCKETS,
    registers: [this.registry],
  })
  readonly #settled = new Counter({
    name: 'headgate_requests_settled_total',
    help: 'Requests that were sent and have ended, by how they ended and the class of the status.',
    labelNames: ['outcome', 'status'],
    registers: [this.registry],
  })
  readonly #refused = new Counter({
    name: 'headgate_requests_refused_total',
    help: 'Requests that Headgate refused.',
    labelNames: ['reason'],
    registers: [this.registry],
  })
  readonly #cancelled = new Counter({
    name: 'headgate_requests_cancelled_total',
    help: 'Requests whose callers left while they waited.',
    registers: [this.registry],
  })
  readonly #bounced = new Counter({
    name: 'headgate_requests_bounced_total',
    help: 'Times that the provider said no or could not be reached, and the request waited again.',
    labelNames: ['reason'],
    registers: [this.registry],
  })
  readonly #shadowed = new Counter({
    name: 'headgate_requests_shadowed_total',
    help: 'Times that a rule in shadow mode would have refused a request.',
    registers: [this.registry],
  })
  readonly #spent = new Counter({
    name: 'headgate_spent_usd_total',
    help: 'What requests have cost, in dollars, as far as prices are known.',
    registers: [this.registry],
  })
  readonly #budgetWarnings = new Counter({
    name: 'headgate_budget_warnings_total',
    help: 'Steps that budgets have passed, each once in its period, by the step in per cent.',
    labelNames: ['step'],
    registers: [this.registry],
  })
  readonly #ledgerOutages = new Counter({
    name: 'headgate_ledger_outages_total',
    help: 'Times that spending could not be written down.',
    registers: [this.registry],
  })
  readonly #failures = new Counter({
    name: 'headgate_failures_total',
    help: 'Times that something failed that must not fail.',
    registers: [this.registry],
  })
  readonly #degradations = new Counter({
    name: 'headgate_store_degradations_total',
    help: 'Times that the shared store was lost.',
    registers: [this.registry],
  })
  readonly #returns = new Counter({
    name: 'headgate_store_returns_total',
    help: 'Times that the shared store came back.',
    registers: [this.registry],
  })
  readonly #degradedSeconds = new Counter({
    name: 'headgate_store_degraded_seconds_total',
    help: 'Time without the shared store.',
    registers: [this.registry],
    collect: () => this.#countDegradedTime(),
  })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  settled(
    { lane, queuedMs }: { readonly lane: string; readonly queuedMs: number },
    outcome: string,
    status: number | null,
    { cost }: { readonly cost: number },
  ): void {
    if (cost > 0) this.#spent.inc(cost / NANO)
    this.#settled.inc({ outcome, status: classOf(status) })
    this.#queued.observe({ lane }, queuedMs / 1000)
  }

  refused(_call: unknown, { reason }: { readonly reason: string }): void {
    this.#refused.inc({ reason })
  }

  shadowed(): void {
    this.#shadowed.inc()
  }

  budgetWarned({ step }: { readonly step: number }): void {
    this.#budgetWarnings.inc({ step })
  }

  ledgerUnavailable(): void {
    this.#ledgerOutages.inc()
  }

  cancelled(): void {
    this.#cancelled.inc()
  }

  bounced(_call: unknown, reason: string): void {
    this.#bounced.inc({ reason })
  }

  failed(): void {
    this.#failures.inc()
  }

  storeDegraded(): void {
    this.#degradations.inc()
    this.#degradedSince = this.#clock.now()
  }

  storeReturned(): void {
    this.#returns.inc()
    this.#countDegradedTime()
    this.#degradedSince = null
  }

  #countDegradedTime(): void {
    if (this.#degradedSince === null) return
    const now = this.#clock.now()
    this.#degradedSeconds.inc((now - this.#degradedSince) / 1000)
    this.#degradedSince = now
  }
}

/** `2xx`; `none` where no status came. */
const classOf = (status: number | null): string =>
  status === null ? 'none' : `${Math.floor(status / 100)}xx`
