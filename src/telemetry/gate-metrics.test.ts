import { describe, expect, it } from 'vitest'
import type { LimitSnapshot } from '../core/admission.ts'
import { VirtualClock } from '../core/clock.ts'
import type { ResourceSnapshot } from '../core/store.ts'
import { gateMetrics } from './gate-metrics.ts'

const NOW = 1_000_000

const calm: ResourceSnapshot = {
  name: 'anthropic/a/m',
  inFlight: 0,
  queued: 0,
  nextAt: null,
  boundBy: null,
  pausedUntil: null,
  concurrencyLimit: null,
  oldestEnqueuedAt: null,
  limits: [],
}

const perMinute: LimitSnapshot = {
  dimension: 'requests',
  amount: 50,
  windowMs: 60_000,
  remaining: 12,
  source: 'learnt',
}

async function samplesOf(resources: readonly ResourceSnapshot[], isDegraded = false) {
  const store = { kind: 'memory', isDegraded, snapshot: async () => resources }
  const registry = await gateMetrics({ clock: new VirtualClock(NOW), store })
  const text = await registry.metrics()
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

describe('gateMetrics', () => {
  it('shows who is under way and who waits', async () => {
    const busy = { ...calm, inFlight: 3, queued: 8, oldestEnqueuedAt: NOW - 21_500 }
    expect(await samplesOf([busy])).toEqual([
      'headgate_store_degraded{kind="memory"} 0',
      'headgate_resources 1',
      'headgate_leases{resource="anthropic/a/m"} 3',
      'headgate_queued{resource="anthropic/a/m"} 8',
      'headgate_oldest_wait_seconds{resource="anthropic/a/m"} 21.5',
      'headgate_paused{resource="anthropic/a/m"} 0',
    ])
  })

  it('shows a pause until it is over', async () => {
    const pausedUntil = async (at: number) => {
      const lines = await samplesOf([{ ...calm, pausedUntil: at }])
      return lines.find((line) => line.startsWith('headgate_paused'))
    }
    expect(await pausedUntil(NOW + 1)).toBe('headgate_paused{resource="anthropic/a/m"} 1')
    expect(await pausedUntil(NOW)).toBe('headgate_paused{resource="anthropic/a/m"} 0')
  })

  it('tells limits on one dimension apart by window and source', async () => {
    const limits: LimitSnapshot[] = [
      perMinute,
      { ...perMinute, source: 'configured', amount: 40, remaining: -2 },
      { ...perMinute, source: 'configured', amount: 1000, windowMs: 86_400_000, remaining: 700 },
      { dimension: 'concurrency', amount: 5, windowMs: null, remaining: 2, source: 'configured' },
    ]
    const lines = await samplesOf([{ ...calm, limits }])
    const of = (labels: string) => {
      const ending = `{resource="anthropic/a/m",${labels}} `
      return lines.filter((line) => line.includes(ending)).map((line) => line.split(' ')[1])
    }
    expect(of('dimension="requests",window_seconds="60",source="learnt"')).toEqual(['50', '12'])
    expect(of('dimension="requests",window_seconds="60",source="configured"')).toEqual(['40', '-2'])
    expect(of('dimension="requests",window_seconds="86400",source="configured"')).toEqual([
      '1000',
      '700',
    ])
    expect(of('dimension="concurrency",source="configured"')).toEqual(['5', '2'])
  })

  it('shows the tighter of two limits that only count differently', async () => {
    const bucket: LimitSnapshot = { ...perMinute, amount: 10, remaining: 1 }
    for (const limits of [
      [perMinute, bucket],
      [bucket, perMinute],
    ]) {
      const lines = await samplesOf([{ ...calm, limits }])
      const values = lines.filter((line) => line.startsWith('headgate_limit'))
      expect(values.map((line) => line.split(' ')[1])).toEqual(['10', '1'])
    }
  })

  it('shows the hundred busiest and how many there are', async () => {
    const many = Array.from({ length: 250 }, (_, index) => ({
      ...calm,
      name: `r${index}`,
      inFlight: index % 3,
      queued: index - (index % 3),
    }))
    const lines = await samplesOf(many)
    expect(lines).toContain('headgate_resources 250')
    const shown = lines.filter((line) => line.startsWith('headgate_leases'))
    expect(shown).toHaveLength(100)
    expect(shown).toContain('headgate_leases{resource="r248"} 2')
    expect(shown).toContain('headgate_leases{resource="r150"} 0')
    expect(shown.some((line) => line.includes('"r149"') || line.includes('"r0"'))).toBe(false)
  })

  it('says whether the store is out of reach, and shows what there is', async () => {
    expect(await samplesOf([], true)).toEqual([
      'headgate_store_degraded{kind="memory"} 1',
      'headgate_resources 0',
    ])
  })
})
