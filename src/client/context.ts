// What every ask and every lease of one client shares. Owns: these contracts, and what a client tells.
// Must not know: who tells it when.
import type { HeadgateError } from './errors.ts'
import type { PatienceOptions } from './patience.ts'
import type { Wire } from './wire.ts'

/** What happens beside answers and errors. */
export type ClientEvent =
  /** The connection of an ask that waits broke, or none can be made. */
  | { readonly kind: 'reconnecting'; readonly resource: string; readonly why: string }
  /** The ask is back in line: at its place, unless `place_lost` is told too. */
  | { readonly kind: 'reconnected'; readonly resource: string; readonly id: string }
  /** The gate has forgotten the ask's place: it stands at the end of the line again. */
  | { readonly kind: 'place_lost'; readonly resource: string; readonly id: string }
  /** Work goes on outside the limits: `onUnreachable` is `fail_open`. */
  | { readonly kind: 'ungoverned'; readonly resource: string; readonly error: HeadgateError }
  /** A lease ended before its holder ended it. */
  | {
      readonly kind: 'lost'
      readonly resource: string
      readonly id: string
      readonly error: HeadgateError
    }
  /** The gate could not be told that a lease or an ask is over. It ends by itself when its time is up. */
  | {
      readonly kind: 'left_open'
      readonly resource: string
      readonly id: string
      readonly error: HeadgateError
    }

export interface ClientContext extends PatienceOptions {
  readonly wire: Wire
  readonly onUnreachable: 'fail_closed' | 'fail_open'
  /** Names an ask, for ever and everywhere. */
  readonly newKey: () => string
  readonly tell: (event: ClientEvent) => void
}
