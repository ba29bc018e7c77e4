// How the gates stand, in numbers. Owns: the metrics that are read from a snapshot when somebody asks.
// Must not know: what has happened, or how gates decide.
import { Gauge, Registry } from 'prom-client'
import type { LimitSnapshot } from '../core/admission.ts'
import type { Clock, EpochMs } from '../core/clock.ts'
import type { ResourceSnapshot, Store } from '../core/store.ts'

export interface GateSource {
  readonly clock: Clock
  readonly store: Pick<Store, 'kind' | 'isDegraded' | 'snapshot'>
}

/** Callers choose models and keys, and each of them is a resource: only the busiest are shown. */
const MOST_RESOURCES = 100

/** Made anew for each scrape, so that nothing is shown of a resource that is no more. */
export async function gateMetrics({ clock, store }: GateSource): Promise<Registry> {
  const resources = await store.snapshot()
  const now = clock.now()
  const registry = new Registry()
  new Gauge({
    name: 'headgate_store_degraded',
    help: 'Whether this gateway decides by itself for want of its store.',
    labelNames: ['kind'],
    registers: [registry],
  }).set({ kind: store.kind }, Number(store.isDegraded))
  new Gauge({
    name: 'headgate_resources',
    help: `All resources; the metrics of a resource are those of the ${MOST_RESOURCES} busiest.`,
    registers: [registry],
  }).set(resources.length)
  const shown = busiest(resources)
  showLines(registry, shown, now)
  showLimits(registry, shown)
  return registry
}

function busiest(resources: readonly ResourceSnapshot[]): readonly ResourceSnapshot[] {
  if (resources.length <= MOST_RESOURCES) return resources
  const load = ({ inFlight, queued }: ResourceSnapshot): number => inFlight + queued
  // Among equals by name, so that each scrape shows the same.
  const inOrder = resources.toSorted((a, b) => load(b) - load(a) || (a.name < b.name ? -1 : 1))
  return inOrder.slice(0, MOST_RESOURCES)
}

function showLines(registry: Registry, resources: readonly ResourceSnapshot[], now: EpochMs): void {
  const show = (name: string, help: string, read: (snapshot: ResourceSnapshot) => number) => {
    const gauge = new Gauge({ name, help, labelNames: ['resource'], registers: [registry] })
    for (const snapshot of resources) gauge.set({ resource: snapshot.name }, read(snapshot))
  }
  show('headgate_leases', 'Requests under way.', ({ inFlight }) => inFlight)
  show(
    'headgate_queued',
    'Requests that wait, those between two attempts included.',
    ({ queued }) => queued,
  )
  show(
    'headgate_oldest_wait_seconds',
    'How long the oldest waiting request has waited; 0 when nobody waits.',
    ({ oldestEnqueuedAt }) => (oldestEnqueuedAt === null ? 0 : (now - oldestEnqueuedAt) / 1000),
  )
  show('headgate_paused', 'Whether the provider has asked for a pause.', ({ pausedUntil }) =>
    Number(pausedUntil !== null && pausedUntil > now),
  )
}

function showLimits(registry: Registry, resources: readonly ResourceSnapshot[]): void {
  const labelNames = ['resource', 'dimension', 'window_seconds', 'source'] as const
  const amount = new Gauge({
    name: 'headgate_limit_amount',
    help: 'How much the window admits.',
    labelNames,
    registers: [registry],
  })
  const remaining = new Gauge({
    name: 'headgate_limit_remaining',
    help: 'What is left now; below zero while a debt is being paid.',
    labelNames,
    registers: [registry],
  })
  for (const { name: resource, limits } of resources) {
    for (const limit of mostLeftFirst(limits)) {
      const { dimension, source, windowMs } = limit
      const window = windowMs === null ? {} : { window_seconds: windowMs / 1000 }
      amount.set({ resource, dimension, ...window, source }, limit.amount)
      remaining.set({ resource, dimension, ...window, source }, limit.remaining)
    }
  }
}

/** Two limits may differ in nothing but how they count: of these the one with less left is shown. */
const mostLeftFirst = (limits: readonly LimitSnapshot[]): readonly LimitSnapshot[] =>
  limits.toSorted((a, b) => b.remaining - a.remaining)
