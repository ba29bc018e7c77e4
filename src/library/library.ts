// The gate as a library: no server, everything in its own program. Owns: opening it. Must not know: what is
// asked of it.
import { realClock } from '../core/clock.ts'
import { openEngine } from '../engine/engine.ts'
import { type GateConfig, readConfig } from '../engine/program-config.ts'
import { engineEvents, gateEvents } from '../engine/program-events.ts'
import type { Gate } from './gate.ts'
import { putInside } from './inside.ts'
import { OpenGate } from './open-gate.ts'
import { type GateOptions, readOptions } from './options.ts'

export {
  type FieldProblem,
  HeadgateError,
  type HeadgateErrorCode,
  Invalid,
  LeaseLost,
  type Problem,
  Refused,
  Unreachable,
} from '../client/errors.ts'
export type { AcquireOptions, Amounts, Lane, Lease, Load, Progress } from '../client/lease.ts'
export type { Clock, Timer } from '../core/clock.ts'
export type { CostVector } from '../core/cost.ts'
export type { Refusal, RefusalReason } from '../core/refusal.ts'
export type { ResourceSnapshot } from '../core/store.ts'
export type { CallFacts, Outcome } from '../dispatch/events.ts'
export type { GateConfig } from '../engine/program-config.ts'
export type { GateEvents } from '../engine/program-events.ts'
export { type BudgetWarning, LedgerSetupError, LedgerUnavailable } from '../ledger/ledger.ts'
export { ConfigError } from '../policy/problem.ts'
export type { CloseOptions, Gate, GateAcquireOptions } from './gate.ts'
export { type GatedFetchOptions, gatedFetch } from './gated-fetch.ts'
export type { GateOptions } from './options.ts'

/**
 * @throws ConfigError when the configuration or an option is wrong: one line for each problem.
 * @throws StoreSetupError when the store's address or its server is wrong.
 * @throws LedgerSetupError when the ledger's address, file or server is wrong.
 * @throws LedgerUnavailable when the ledger's server cannot be reached.
 */
export async function createGate(
  config: GateConfig = {},
  options: GateOptions = {},
): Promise<Gate> {
  const { env, clock = realClock(), random = Math.random, events: heard } = readOptions(options)
  const { settings, warnings } = readConfig(config, env)
  const events = gateEvents(heard)
  const engine = await openEngine({
    settings,
    clock,
    random,
    events: engineEvents(events),
    keepsBooks: false,
  })
  for (const warning of [...warnings, ...engine.warnings]) events.warned(warning)
  const gate = new OpenGate({ engine, clock, failed: events.failed })
  putInside(gate, gate)
  return gate
}
