// What a program says of the coordinator and of itself. Owns: the options and their defaults. Must not
// know: what is asked of a client.
import { type Clock, platformClock } from './clock.ts'
import type { ClientContext, ClientEvent } from './context.ts'
import { TIMINGS, type Timings } from './patience.ts'
import { type Fetch, Wire } from './wire.ts'

export interface ConnectOptions {
  /** Where the gate listens, such as `http://127.0.0.1:4000`. */
  readonly url: string
  /** A key of the gate's own, with the scope `leases`. Not needed on the gate's own machine. */
  readonly key?: string
  /** @default the platform's */
  readonly fetch?: Fetch
  /**
   * What an ask becomes when the gate has been out of reach for `unreachableAfterMs`: an `Unreachable`,
   * or a lease that nothing limits, with the event `ungoverned`.
   * @default fail_closed
   */
  readonly onUnreachable?: 'fail_closed' | 'fail_open'
  /** @default 15000 */
  readonly unreachableAfterMs?: number
  /** What it throws is not caught. */
  readonly onEvent?: (event: ClientEvent) => void
}

/** What only tests choose. */
export interface Surroundings {
  readonly clock?: Clock
  readonly random?: () => number
  readonly timings?: Partial<Timings>
}

/** @throws TypeError when the URL is none, or has a password in it */
export function contextOf(options: ConnectOptions, surroundings: Surroundings): ClientContext {
  const { key = null, onUnreachable = 'fail_closed', unreachableAfterMs = 15_000 } = options
  const { clock = platformClock, random = Math.random } = surroundings
  const url = usable(options.url)
  if (!(unreachableAfterMs > 0))
    throw new TypeError(`unreachableAfterMs is ${unreachableAfterMs}: give a time above 0`)
  // The platform's is looked up late: a program may replace it.
  const send: Fetch = options.fetch ?? ((address, init) => fetch(address, init))
  return {
    wire: new Wire({ url, key, fetch: send, clock }),
    url,
    clock,
    random,
    timings: { ...TIMINGS, ...surroundings.timings },
    onUnreachable,
    unreachableAfterMs,
    newKey,
    tell: options.onEvent ?? (() => {}),
  }
}

function usable(url: string): string {
  const { protocol, username, password } = new URL(url)
  if (username !== '' || password !== '')
    throw new TypeError('the URL has a user or a password in it; a key goes into `key`')
  if (!/^https?:$/.test(protocol))
    throw new TypeError(`${url} does not begin with http:// or https://`)
  return url
}

/** Not `randomUUID`, which a page has only when it came over TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
