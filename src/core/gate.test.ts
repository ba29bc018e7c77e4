import { describe, expect, it } from 'vitest'
import type { GateSettings } from './admission.ts'
import { type CostVector, costOf } from './cost.ts'
import { Gate } from './gate.ts'
import type { Limit } from './limit.ts'
import type { ObservedLimit } from './observation.ts'
import type { TicketRequest } from './ticket.ts'

const EPOCH = 1.8e12

const settings: GateSettings = {
  limits: [],
  learns: false,
  agingMs: 60_000,
  maxQueued: 1e6,
  floors: { soft: 0, hard: 0 },
}

const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const stated = (given: Partial<ObservedLimit>): ObservedLimit => ({
  dimension: 'input_tokens',
  amount: 60_000,
  remaining: 60_000,
  roundedBy: 0,
  fullInMs: null,
  fullInErrorMs: 0,
  ...given,
})

let requests = 0
const request = (given: Partial<TicketRequest> = {}): TicketRequest => ({
  id: `t${requests++}`,
  resource: 'r',
  flow: 'flow',
  lane: 'normal',
  weight: 1,
  estimate: costOf({ input_tokens: 1000 }),
  deadlineAt: Number.POSITIVE_INFINITY,
  place: null,
  parked: false,
  holder: null,
  ...given,
})

function admit(gate: Gate, estimate: CostVector, now: number): string {
  const wanted = request({ estimate })
  expect(gate.enqueue(wanted, now)).toEqual({ kind: 'admitted' })
  return wanted.id
}

const remaining = (gate: Gate, now: number): number | undefined =>
  gate.snapshot(now).limits[0]?.remaining

describe('Gate', () => {
  it('holds nobody back without limits', () => {
    const gate = new Gate(settings, EPOCH)
    for (let count = 0; count < 100; count++) admit(gate, costOf({}), EPOCH)
    expect(gate.inFlight).toBe(100)
    expect(gate.takeGrants().length).toBe(100)
    expect(gate.takeGrants()).toEqual([])
  })

  it('takes off what left too late for a statement to have counted it', () => {
    const gate = new Gate({ ...settings, learns: true }, EPOCH)
    admit(gate, costOf({ input_tokens: 5000 }), EPOCH)
    admit(gate, costOf({ input_tokens: 7000 }), EPOCH + 100)
    gate.observe({ limits: [stated({ remaining: 50_000 })], sentAt: EPOCH + 50 }, EPOCH + 200)
    expect(remaining(gate, EPOCH + 200)).toBeLessThanOrEqual(43_200)
  })

  it('counts output that is still to come against a provider that counts it live', () => {
    const gate = new Gate({ ...settings, learns: true }, EPOCH)
    const id = admit(gate, costOf({ output_tokens: 4000 }), EPOCH)
    gate.revise(id, costOf({ output_tokens: 4000 }), 1000, EPOCH + 100)
    const limits = [stated({ dimension: 'output_tokens', amount: 8000, remaining: 7000 })]
    gate.observe({ limits, sentAt: EPOCH }, EPOCH + 100)
    expect(remaining(gate, EPOCH + 100)).toBeLessThanOrEqual(7000 - 3000 + 14)
    gate.settle(id, costOf({ output_tokens: 1000 }), true, EPOCH + 100)
    expect(gate.inFlight).toBe(0)
  })

  it('follows a limit whose amount has changed', () => {
    const gate = new Gate({ ...settings, learns: true }, EPOCH)
    gate.observe({ limits: [stated({})], sentAt: EPOCH }, EPOCH)
    const smaller = stated({ amount: 30_000, remaining: 10_000 })
    gate.observe({ limits: [smaller], sentAt: EPOCH + 10 }, EPOCH + 10)
    expect(gate.snapshot(EPOCH + 10).limits).toMatchObject([{ amount: 30_000, remaining: 10_000 }])
  })

  it('keeps learnt limits beside configured ones, and asks all', () => {
    const gate = new Gate({ ...settings, learns: true, limits: [slots(1)] }, EPOCH)
    gate.observe({ limits: [stated({ remaining: 5000 })], sentAt: EPOCH }, EPOCH)
    expect(gate.snapshot(EPOCH).limits.map(({ source }) => source)).toEqual([
      'configured',
      'learnt',
    ])
    admit(gate, costOf({ input_tokens: 10 }), EPOCH)
    gate.enqueue(request(), EPOCH)
    expect(gate.snapshot(EPOCH).boundBy).toMatchObject({ limit: { algorithm: 'concurrency' } })
  })

  it('keeps more back from a limit after a refusal that it did not foresee', () => {
    const gate = new Gate({ ...settings, learns: true }, EPOCH)
    const id = admit(gate, costOf({ input_tokens: 100 }), EPOCH)
    const observation = { limits: [stated({ remaining: 20_000 })], sentAt: EPOCH }
    gate.observe(observation, EPOCH)
    const before = gate.snapshot(EPOCH).limits[0]?.guard ?? 0
    gate.bounce(id, { kind: 'rate_limited', retryAfterMs: 1000, observation }, EPOCH + 10)
    expect(gate.snapshot(EPOCH + 10).limits[0]?.guard).toBeGreaterThan(before)
  })

  it('judges after those have gone whose holders died before, however late it is woken', () => {
    const gate = new Gate({ ...settings, limits: [slots(1)], maxQueued: 1 }, EPOCH)
    const holder = { id: 'silent', ttlMs: 1000 }
    const [lease, waiting] = [request({ holder }), request({ holder })]
    gate.enqueue(lease, EPOCH)
    gate.enqueue(waiting, EPOCH)
    expect(gate.enqueue(request(), EPOCH + 999)).toMatchObject({ kind: 'refused' })
    expect(gate.wakeAt).toBe(EPOCH + 1000)
    expect(gate.settle(lease.id, costOf({}), true, EPOCH + 5000)).toBe(false)
    expect(gate.position(waiting.id, EPOCH + 5000)).toBeNull()
    expect(gate.enqueue(request(), EPOCH + 5000)).toEqual({ kind: 'admitted' })
  })

  it('leaves itself pumped by an operation that finds nothing', () => {
    const gate = new Gate({ ...settings, limits: [slots(1)] }, EPOCH)
    const silent = request({ holder: { id: 'silent', ttlMs: 1000 } })
    const next = request()
    gate.enqueue(silent, EPOCH)
    gate.enqueue(next, EPOCH)
    gate.takeGrants()
    expect(gate.release(silent.id, EPOCH + 2000)).toBe(false)
    expect(gate.takeGrants().map(({ id }) => id)).toEqual([next.id])
  })

  it('begins with what is used already, and counts no slot for it', () => {
    const perHour: Limit = {
      algorithm: 'fixed_window',
      dimension: 'input_tokens',
      amount: 5000,
      windowMs: 3_600_000,
      source: 'configured',
    }
    const limits = [slots(2), perHour]
    const gate = new Gate({ ...settings, limits, used: [1, 4500] }, EPOCH)
    expect(gate.snapshot(EPOCH).limits.map(({ remaining }) => remaining)).toEqual([2, 500])
    expect(gate.enqueue(request(), EPOCH)).toMatchObject({ kind: 'waiting' })
  })

  it('takes off what rejoined leases reserve, until they end, whoever counted them', () => {
    const gate = new Gate({ ...settings, learns: true }, EPOCH)
    const observe = (left: number, now: number) =>
      gate.observe({ limits: [stated({ remaining: left })], sentAt: now }, now)
    observe(20_000, EPOCH)
    const tickets = ['this', 'another'].map((countedIn) => ({
      request: request(),
      grantedAt: EPOCH - 100,
      countedIn,
    }))
    expect(gate.rejoin(tickets, costOf({ requests: 0 }), 'this', EPOCH)).toHaveLength(2)
    expect(remaining(gate, EPOCH)).toBe(19_000)
    observe(50_000, EPOCH)
    expect(remaining(gate, EPOCH)).toBe(48_000)
    for (const { request } of tickets) gate.settle(request.id, request.estimate, true, EPOCH)
    observe(50_000, EPOCH)
    expect(remaining(gate, EPOCH)).toBe(50_000)
  })

  it('shares by weight what a limit of no amount at all cannot measure', () => {
    const nothing: Limit = {
      algorithm: 'token_bucket',
      dimension: 'cost',
      amount: 0,
      windowMs: 1000,
      source: 'configured',
    }
    const gate = new Gate({ ...settings, limits: [nothing, slots(1)] }, EPOCH)
    let held = admit(gate, costOf({}), EPOCH)
    for (let count = 0; count < 6; count++) gate.enqueue(request({ flow: 'a', weight: 2 }), EPOCH)
    for (let count = 0; count < 6; count++) gate.enqueue(request({ flow: 'b' }), EPOCH)
    gate.takeGrants()
    const flows: string[] = []
    for (let count = 0; count < 6; count++) {
      gate.settle(held, costOf({}), true, EPOCH)
      const [grant] = gate.takeGrants()
      held = grant?.id ?? ''
      flows.push(grant?.flowName ?? '')
    }
    expect(flows.filter((flow) => flow === 'a').length).toBe(4)
  })

  it('costs about the same with ten waiting and with twenty thousand', () => {
    const stepsWith = (waiting: number): number => {
      const gate = new Gate({ ...settings, limits: [slots(1)] }, EPOCH)
      let held = admit(gate, costOf({}), EPOCH)
      for (let count = 0; count < waiting; count++)
        gate.enqueue(request({ flow: `f${count % 100}` }), EPOCH)
      gate.takeGrants()
      const startedAt = performance.now()
      for (let count = 0; count < 2000; count++) {
        gate.enqueue(request({ flow: `f${count % 100}` }), EPOCH)
        gate.settle(held, costOf({}), true, EPOCH)
        held = gate.takeGrants()[0]?.id ?? ''
      }
      return performance.now() - startedAt
    }
    stepsWith(10)
    const few = stepsWith(10)
    expect(stepsWith(20_000)).toBeLessThan(20 * few + 50)
  })
})
