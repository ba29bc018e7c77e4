import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { EventMetrics } from './event-metrics.ts'

/** The samples of one metric, as lines without its name. */
async function linesOf({ registry }: EventMetrics, name: string): Promise<string[]> {
  const text = await registry.getSingleMetricAsString(name)
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  return lines.map((line) => line.slice(name.length).trim())
}

const free = { cost: 0 }

describe('EventMetrics', () => {
  const call = { lane: 'normal', queuedMs: 0 }

  it('counts requests by how they ended and the class of their status', async () => {
    const counts = new EventMetrics(new VirtualClock())
    counts.settled(call, 'answered', 200, free)
    counts.settled(call, 'answered', 201, free)
    counts.settled(call, 'provider_error', 404, free)
    counts.settled(call, 'provider_error', 529, free)
    counts.settled(call, 'abandoned', null, free)
    expect(await linesOf(counts, 'headgate_requests_settled_total')).toEqual([
      '{outcome="answered",status="2xx"} 2',
      '{outcome="provider_error",status="4xx"} 1',
      '{outcome="provider_error",status="5xx"} 1',
      '{outcome="abandoned",status="none"} 1',
    ])
  })

  it('adds up dollars, and counts warnings by their step', async () => {
    const counts = new EventMetrics(new VirtualClock())
    counts.settled(call, 'answered', 200, { cost: 1_500_000_000 })
    counts.settled(call, 'answered', 200, { cost: 250_000_000 })
    counts.budgetWarned({ step: 80 })
    counts.shadowed()
    counts.ledgerUnavailable()
    expect(await linesOf(counts, 'headgate_spent_usd_total')).toEqual(['1.75'])
    expect(await linesOf(counts, 'headgate_budget_warnings_total')).toEqual(['{step="80"} 1'])
    expect(await linesOf(counts, 'headgate_requests_shadowed_total')).toEqual(['1'])
    expect(await linesOf(counts, 'headgate_ledger_outages_total')).toEqual(['1'])
  })

  it('counts refusals and bounces by reason, and those who left', async () => {
    const counts = new EventMetrics(new VirtualClock())
    counts.refused(call, { reason: 'queue_full' })
    counts.refused(call, { reason: 'queue_full' })
    counts.refused(call, { reason: 'waited_out' })
    counts.bounced(call, 'rate_limited')
    counts.cancelled()
    counts.failed()
    expect(await linesOf(counts, 'headgate_requests_refused_total')).toEqual([
      '{reason="queue_full"} 2',
      '{reason="waited_out"} 1',
    ])
    expect(await linesOf(counts, 'headgate_requests_bounced_total')).toEqual([
      '{reason="rate_limited"} 1',
    ])
    expect(await linesOf(counts, 'headgate_requests_cancelled_total')).toEqual(['1'])
    expect(await linesOf(counts, 'headgate_failures_total')).toEqual(['1'])
  })

  it('sorts waits of each lane into buckets of seconds', async () => {
    const counts = new EventMetrics(new VirtualClock())
    for (const queuedMs of [0, 400, 45_000, 3_600_000])
      counts.settled({ lane: 'low', queuedMs }, 'answered', 200, free)
    const lines = await linesOf(counts, 'headgate_queued_seconds')
    expect(lines).toContain('_bucket{le="0.01",lane="low"} 1')
    expect(lines).toContain('_bucket{le="0.5",lane="low"} 2')
    expect(lines).toContain('_bucket{le="30",lane="low"} 2')
    expect(lines).toContain('_bucket{le="60",lane="low"} 3')
    expect(lines).toContain('_bucket{le="+Inf",lane="low"} 4')
    expect(lines).toContain('_sum{lane="low"} 3645.4')
  })

  it('counts the time without the store, the present outage included', async () => {
    const clock = new VirtualClock(1_000_000)
    const counts = new EventMetrics(clock)
    const seconds = () => linesOf(counts, 'headgate_store_degraded_seconds_total')
    clock.advanceTo(1_005_000)
    expect(await seconds()).toEqual(['0'])
    counts.storeDegraded()
    clock.advanceTo(1_008_000)
    expect(await seconds()).toEqual(['3'])
    clock.advanceTo(1_009_500)
    counts.storeReturned()
    clock.advanceTo(1_100_000)
    expect(await seconds()).toEqual(['4.5'])
    counts.storeDegraded()
    clock.advanceTo(1_101_000)
    expect(await seconds()).toEqual(['5.5'])
    expect(await linesOf(counts, 'headgate_store_degradations_total')).toEqual(['2'])
    expect(await linesOf(counts, 'headgate_store_returns_total')).toEqual(['1'])
  })
})
