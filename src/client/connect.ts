// `headgate/client`: asking a coordinator for a turn, from any program. Owns: what is public of this room.
// Must not know: anything outside it. It runs where there is `fetch`: Node, Deno, Bun, browsers.
import { Client, type Headgate } from './client.ts'
import { type ConnectOptions, contextOf } from './options.ts'

export type { ClientAcquireOptions } from './ask.ts'
export type { CheckOptions, Headgate } from './client.ts'
export type { ClientEvent } from './context.ts'
export type { CheckAnswer } from './documents.ts'
export {
  type FieldProblem,
  Forbidden,
  HeadgateError,
  type HeadgateErrorCode,
  Invalid,
  LeaseLost,
  type Problem,
  Refused,
  Unreachable,
} from './errors.ts'
export type { ClientLease } from './held-lease.ts'
export type { AcquireOptions, Amounts, Lane, Lease, Load, Progress } from './lease.ts'
export type { ConnectOptions } from './options.ts'
export type { BodyReader, Fetch, FetchInit, FetchResponse } from './wire.ts'

/** Nothing is sent before the first ask. @throws TypeError when the URL is none, or has a password in it */
export function connect(options: ConnectOptions): Headgate {
  return new Client(contextOf(options, {}))
}
