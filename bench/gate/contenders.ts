// The things whose operations are timed, each as "do so many". Owns: how each is asked for a turn and
// told that it is over. Must not know: how time or memory is measured.
import { createRequire } from 'node:module'
import type { GateSettings } from '../../src/core/admission.ts'
import { realClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import { Gate } from '../../src/core/gate.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { TicketRequest } from '../../src/core/ticket.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'

export interface Contender {
  readonly name: string
  /** Takes and gives back so many turns, one after the other. */
  readonly run: (turns: number) => Promise<void> | void
  readonly close?: () => void
}

const ESTIMATE = costOf({ input_tokens: 600, output_tokens: 300 })
const ACTUAL = costOf({ input_tokens: 580, output_tokens: 210 })
const FLOWS = 100
const AMPLE = 1e12

export function settingsWith(limits: readonly Limit[]): GateSettings {
  return {
    limits,
    learns: false,
    agingMs: 60_000,
    maxQueued: 1e6,
    floors: { soft: 0, hard: 0 },
  }
}

export function bucket(
  dimension: 'requests' | 'input_tokens' | 'output_tokens',
  amount: number,
): Limit {
  return {
    algorithm: 'token_bucket',
    dimension,
    amount,
    windowMs: 60_000,
    source: 'configured',
  }
}

export function ticket(id: string, resource: string, flow: string): TicketRequest {
  return {
    id,
    resource,
    flow,
    lane: 'normal',
    weight: 1,
    estimate: ESTIMATE,
    deadlineAt: Number.POSITIVE_INFINITY,
    place: null,
    parked: false,
    holder: null,
  }
}

export const THREE_LIMITS = settingsWith([
  bucket('requests', AMPLE),
  bucket('input_tokens', AMPLE),
  bucket('output_tokens', AMPLE),
])

/** The state machine alone, without store or promises. */
export function headgateGate(): Contender {
  const clock = realClock()
  const gate = new Gate(THREE_LIMITS, clock.now())
  let taken = 0
  const run = (turns: number): void => {
    for (let turn = 0; turn < turns; turn++) {
      const id = `t${taken++}`
      gate.enqueue(ticket(id, 'model', `agent-${taken % FLOWS}`), clock.now())
      gate.takeGrants()
      gate.settle(id, ACTUAL, true, clock.now())
    }
  }
  return { name: 'Headgate, the gate alone', run }
}

export async function headgateStore(): Promise<Contender> {
  const store = new MemoryStore(realClock(), () => THREE_LIMITS)
  // Somebody is always there: limits as ample as these are full at once, and their gate forgotten.
  await store.enqueue(ticket('resident', 'model', 'resident'))
  let taken = 0
  const run = async (turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) {
      const id = `t${taken++}`
      const placement = await store.enqueue(ticket(id, 'model', `agent-${taken % FLOWS}`))
      if (placement.kind !== 'admitted') throw new Error(`the turn was ${placement.kind}`)
      await store.settle('model', id, ACTUAL, true)
    }
  }
  return { name: 'Headgate, memory store', run }
}

/**
 * The memory store with a line that never gets shorter: each turn joins the end of its flow, and
 * the one at the head is admitted when the turn before it is settled.
 */
export async function headgateWithWaiting(waiting: number): Promise<Contender> {
  const settings = settingsWith([
    { algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' },
    bucket('input_tokens', AMPLE),
    bucket('output_tokens', AMPLE),
  ])
  const store = new MemoryStore(realClock(), () => settings)
  let taken = 0
  let admitted = 't0'
  store.onGrant((grant) => {
    admitted = grant.id
  })
  const join = (): Promise<unknown> => {
    const id = `t${taken++}`
    return store.enqueue(ticket(id, 'model', `agent-${taken % FLOWS}`))
  }
  for (let count = 0; count <= waiting; count++) await join()
  const run = async (turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) {
      await join()
      await store.settle('model', admitted, ACTUAL, true)
    }
  }
  return { name: `Headgate, ${waiting.toLocaleString('en')} waiting`, run }
}

// The peers' packages are not among the root's dependencies, so only what is used of them is typed.
interface Limiter {
  consume(key: string, points: number): Promise<unknown>
}
type RateLimiterMemory = new (options: { points: number; duration: number }) => Limiter
interface Scheduler {
  schedule<T>(work: () => Promise<T>): Promise<T>
  disconnect(): void
}
type Bottleneck = new (options: Record<string, number>) => Scheduler

const require = createRequire(import.meta.url)

export function newLimiter(points: number): Limiter {
  const peer: { RateLimiterMemory: RateLimiterMemory } = require('rate-limiter-flexible')
  return new peer.RateLimiterMemory({ points, duration: 60 })
}

export function newScheduler(): Scheduler {
  const peer: Bottleneck = require('bottleneck')
  const refresh = { reservoirRefreshAmount: 1e9, reservoirRefreshInterval: 60_000 }
  return new peer({ reservoir: 1e9, ...refresh })
}

/** Three limits; it has no line, and no correction to the actual cost. */
export function rateLimiterFlexible(): Contender {
  const [requests, input, output] = [newLimiter(AMPLE), newLimiter(AMPLE), newLimiter(AMPLE)]
  const run = async (turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) {
      await requests.consume('model', 1)
      await input.consume('model', ESTIMATE.input_tokens)
      await output.consume('model', ESTIMATE.output_tokens)
    }
  }
  return { name: 'rate-limiter-flexible, three limits', run }
}

/** One limit, its reservoir, and a line. */
export function bottleneck(): Contender {
  const scheduler = newScheduler()
  const run = async (turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) await scheduler.schedule(async () => turn)
  }
  return { name: 'bottleneck, one limit', run, close: () => scheduler.disconnect() }
}
