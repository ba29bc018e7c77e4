// What an engine within a program of its own tells. Owns: what becomes of it when nobody listens. Must not know: what
// leads to it.
import type { DispatchEvents } from '../dispatch/events.ts'
import type { EngineEvents } from './engine.ts'

export interface GateEvents extends DispatchEvents {
  /** Store or ledger are in trouble, or well again; or a setting is probably not meant: a sentence. */
  warned(sentence: string): void
}

/** Without a listener Node shows what somebody should know of, as it does its own warnings. */
const UNHEARD: GateEvents = {
  settled: () => {},
  refused: () => {},
  cancelled: () => {},
  bounced: () => {},
  shadowed: () => {},
  budgetWarned: ({ subject, step }) => warn(`the budget of ${subject} has passed ${step} %`),
  warned: (sentence) => warn(sentence),
  failed: (error) => warn(error instanceof Error ? error : String(error)),
}

const warn = (what: string | Error): void => process.emitWarning(what, 'HeadgateWarning')

export function gateEvents(heard: Partial<GateEvents> = {}): GateEvents {
  return { ...UNHEARD, ...heard }
}

export function engineEvents(events: GateEvents): EngineEvents {
  return {
    settled: (facts, outcome, status, actual) => events.settled(facts, outcome, status, actual),
    refused: (facts, refusal) => events.refused(facts, refusal),
    cancelled: (facts) => events.cancelled(facts),
    bounced: (facts, reason, status) => events.bounced(facts, reason, status),
    shadowed: (facts, rule) => events.shadowed(facts, rule),
    budgetWarned: (warning) => events.budgetWarned(warning),
    failed: (error) => events.failed(error),
    storeDegraded: ({ policy, why }) =>
      events.warned(`the store is out of reach (${why}): on_store_failure is ${policy}`),
    storeReturned: () => events.warned('the store is back'),
    storeWarned: (sentence) => events.warned(sentence),
    ledgerUnavailable: (why) => events.warned(`spending cannot be written down: ${why}`),
    ledgerReturned: (_, pending) =>
      events.warned(`spending is written down again, ${pending} records are still to be written`),
    ledgerRecovered: (requests) =>
      events.warned(`${requests} requests of a process that died were charged as reserved`),
  }
}
