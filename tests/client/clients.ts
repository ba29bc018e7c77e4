// Clients for tests, and what they tell. Owns: short pauses, the record of events. Must not know: what
// any test proves.
import { Client, type Headgate } from '../../src/client/client.ts'
import type { ClientEvent } from '../../src/client/context.ts'
import { type ConnectOptions, contextOf, type Surroundings } from '../../src/client/options.ts'
import type { Exchange } from './scripted-coordinator.ts'

export interface RecordingClient extends Headgate {
  readonly events: readonly ClientEvent[]
  /** Resolves when an event of the kind has been told. */
  told(kind: ClientEvent['kind']): Promise<ClientEvent>
}

export function openClient(
  options: ConnectOptions,
  surroundings: Surroundings = {},
): RecordingClient {
  const events: ClientEvent[] = []
  const waiting = new Set<() => void>()
  const onEvent = (event: ClientEvent): void => {
    events.push(event)
    for (const look of waiting) look()
  }
  const timings = { firstPauseMs: 2, longestPauseMs: 10, ...surroundings.timings }
  const context = contextOf({ onEvent, ...options }, { ...surroundings, timings })
  const client = new Client(context)
  return {
    events,
    acquire: (resource, how) => client.acquire(resource, how),
    withLease: (resource, how, work) => client.withLease(resource, how, work),
    check: (resource, how) => client.check(resource, how),
    told: (kind) =>
      new Promise((resolve) => {
        const look = (): void => {
          const event = events.find((one) => one.kind === kind)
          if (!event) return
          waiting.delete(look)
          resolve(event)
        }
        waiting.add(look)
        look()
      }),
  }
}

export const LEASES = 'POST /headgate/v1/leases'

export const GRANTED = {
  id: 'lease-1',
  resource: 'model',
  grantedAt: 1_000_000,
  waitedMs: 20,
  expiresAt: 1_030_000,
  ttlMs: 30_000,
}

export const WAITING = {
  id: 'lease-1',
  resource: 'model',
  position: 3,
  expectedInMs: 1500,
  boundBy: '10 requests per 60 s',
}

export const grant = (exchange: Exchange, more: object = {}): void => {
  exchange.event('granted', { ...GRANTED, ...more })
  exchange.end()
}

export const problem = (status: number, reason: string, more: object = {}): object => ({
  type: 'about:blank',
  title: 'A Problem',
  status,
  detail: `the gate says ${reason}`,
  reason,
  ...more,
})
