// Metrics in the text format of Prometheus. Owns: which there are together. Must not know: HTTP, or
// what any of them means.
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { EventMetrics } from './event-metrics.ts'
import { type GateSource, gateMetrics } from './gate-metrics.ts'

export interface MetricsSource extends GateSource {
  readonly counts: EventMetrics
}

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

export async function metricsText(source: MetricsSource): Promise<string> {
  const gates = await gateMetrics(source)
  return await Registry.merge([source.counts.registry, gates, processMetrics()]).metrics()
}

/** Of the process, whatever the number of gateways in it. */
let ofProcess: Registry | null = null

/**
 * Measured from the first scrape on: whoever has no use for them pays nothing. So the first has none,
 * for there is nothing to tell yet.
 */
function processMetrics(): Registry {
  if (ofProcess) return ofProcess
  ofProcess = new Registry()
  collectDefaultMetrics({ register: ofProcess })
  return new Registry()
}
