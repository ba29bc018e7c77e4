// What Prometheus reads from a gateway at work, in its own format.
import { describe, expect, it } from 'vitest'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { ask, failureOf, type Harness, KEY, openHarness, until } from '../harness.ts'
import { atOnce, perMinute } from '../limits.ts'
import { type Family, readPrometheusText } from '../prometheus-text.ts'
import { deadUrl } from '../stub-upstream.ts'

async function scrape({ url }: Harness): Promise<ReadonlyMap<string, Family>> {
  const answer = await fetch(`${url}/metrics`)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return readPrometheusText(await answer.text())
}

/** The values of one metric whose labels have these values, in order. */
function valuesOf(
  families: ReadonlyMap<string, Family>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number[] {
  const samples = families.get(name.replace(/_(?:bucket|sum|count)$/, ''))?.samples ?? []
  const found = samples.filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )
  return found.map(({ value }) => value)
}

describe('metrics', () => {
  it('show what has happened and how the gates stand', async () => {
    await using gate = await openHarness({ emulator: { timeScale: 100 }, anthropic: perMinute(1) })
    await gate.client().messages.create(ask('x', { output: 3 }))
    const hasty = gate.client({ defaultHeaders: { 'x-headgate-max-wait': '1s' } })
    await failureOf(hasty.messages.create(ask('x')))
    const waits = new AbortController()
    const low = gate.client({ defaultHeaders: { 'x-headgate-lane': 'low' } })
    const waiting = failureOf(low.messages.create(ask('x'), { signal: waits.signal }))
    await until(async () => (await gate.status()).queued === 1)

    const during = await scrape(gate)
    const { resources } = await gate.status()
    const resource = resources[0]?.name ?? ''
    const settled = { outcome: 'answered', status: '2xx' }
    expect(valuesOf(during, 'headgate_requests_settled_total', settled)).toEqual([1])
    expect(valuesOf(during, 'headgate_requests_refused_total')).toEqual([1])
    const refused = { reason: 'wait_too_long' }
    expect(valuesOf(during, 'headgate_requests_refused_total', refused)).toEqual([1])
    expect(valuesOf(during, 'headgate_queued_seconds_count', { lane: 'normal' })).toEqual([1])
    expect(valuesOf(during, 'headgate_store_degraded', { kind: 'memory' })).toEqual([0])
    expect(valuesOf(during, 'headgate_resources')).toEqual([1])
    expect(valuesOf(during, 'headgate_leases', { resource })).toEqual([0])
    expect(valuesOf(during, 'headgate_queued', { resource })).toEqual([1])
    expect(valuesOf(during, 'headgate_oldest_wait_seconds', { resource })[0]).toBeGreaterThan(0)
    expect(valuesOf(during, 'headgate_paused', { resource })).toEqual([0])
    const limit = {
      resource,
      dimension: 'requests',
      window_seconds: '60',
      source: 'configured',
    }
    expect(valuesOf(during, 'headgate_limit_amount', limit)).toEqual([1])
    expect(valuesOf(during, 'headgate_limit_remaining', limit)).toEqual([0])
    const learnt = valuesOf(during, 'headgate_limit_amount', { resource, source: 'learnt' })
    expect(learnt).toHaveLength(3)

    waits.abort()
    await waiting
    await gate.idle()
    const after = await scrape(gate)
    expect(valuesOf(after, 'headgate_queued', { resource })).toEqual([0])
    expect(valuesOf(after, 'headgate_requests_cancelled_total')).toEqual([1])
    expect(valuesOf(after, 'headgate_failures_total')).toEqual([0])
    expect(valuesOf(after, 'process_resident_memory_bytes')[0]).toBeGreaterThan(2 ** 20)
  })

  it('count what the provider refuses', async () => {
    await using gate = await openHarness({ speed: 100 })
    await gate
      .client()
      .messages.create(ask('x', { fault: 'overload' }))
      .catch(() => {})
    await gate.idle()
    const families = await scrape(gate)
    const bounces = gate.of('bounced').length
    expect(bounces).toBeGreaterThan(0)
    expect(valuesOf(families, 'headgate_requests_bounced_total')).toEqual([bounces])
    const bounced = { reason: 'overloaded' }
    expect(valuesOf(families, 'headgate_requests_bounced_total', bounced)).toEqual([bounces])
  })

  it('have no labels that grow with what callers send', async () => {
    await using gate = await openHarness({ speed: 100, anthropic: atOnce(100) })
    const send = async (index: number): Promise<void> => {
      const defaultHeaders = { 'x-headgate-flow': `flow-${index}` }
      const model = index % 2 === 0 ? `sk-model-${index}` : `"} 1\n${index}`
      const client = gate.client({ defaultHeaders })
      await client.messages.create({ ...ask('x'), model }).catch(() => {})
    }
    const seriesOf = async (): Promise<string[]> => {
      const families = await scrape(gate)
      const own = [...families.values()].flatMap(({ samples }) => samples)
      const series = own.filter(({ name }) => name.startsWith('headgate_'))
      return series.map(({ name, labels }) => JSON.stringify([name, labels]))
    }
    await Promise.all([0, 1].map(send))
    await gate.idle()
    const few = await seriesOf()
    await Promise.all(Array.from({ length: 40 }, (_, index) => send(index)))
    await gate.idle()
    const many = await seriesOf()
    expect(few.some((series) => series.includes('/unknown'))).toBe(true)
    expect(many).toEqual(few)
    expect(many.join('\n')).not.toMatch(/flow-|sk-/)
    expect(many.join('\n')).not.toContain(KEY)
  })

  it('tell that the store is out of reach, and since how long', async () => {
    const address = parseStoreAddress((await deadUrl()).replace('http:', 'redis:'))
    if (address.kind !== 'parsed') throw new Error('not an address')
    await using gate = await openHarness({ store: address.value })
    const secondsWithout = async (): Promise<number> => {
      const families = await scrape(gate)
      expect(valuesOf(families, 'headgate_store_degraded', { kind: 'redis' })).toEqual([1])
      expect(valuesOf(families, 'headgate_store_degradations_total')).toEqual([1])
      expect(valuesOf(families, 'headgate_store_returns_total')).toEqual([0])
      return valuesOf(families, 'headgate_store_degraded_seconds_total')[0] ?? 0
    }
    const before = await secondsWithout()
    await until(async () => (await secondsWithout()) > before)
  })
})
