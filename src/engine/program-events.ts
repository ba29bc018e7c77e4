// What an engine within a program of its own tells. Owns: what becomes of it when nobody listens, or when who listens
// fails. Must not know: what leads to it.
import type { DispatchEvents } from '../dispatch/events.ts'
import type { EngineEvents } from './engine.ts'
import { call } from './listener.ts'

export interface GateEvents extends DispatchEvents {
  /** Store or ledger are in trouble, or well again; or a setting is probably not meant: a sentence. */
  warned(sentence: string): void
}

/** Without a listener Node shows what somebody should know of, as it does its own warnings. */
function warn(what: unknown): void {
  process.emitWarning(what instanceof Error ? what : String(what), 'HeadgateWarning')
}

/**
 * The events as a gate tells them: none ever throws. What a listener fails with is told to `failed`, and what
 * that one fails with is shown.
 *
 * @param heard may be an object of a class: its methods are called on it
 */
export function gateEvents(heard: Partial<GateEvents> = {}): GateEvents {
  const failed = (error: unknown): void =>
    call(() => (heard.failed ? heard.failed(error) : warn(error)), warn)
  return {
    settled: (...told) => call(() => heard.settled?.(...told), failed),
    refused: (...told) => call(() => heard.refused?.(...told), failed),
    cancelled: (...told) => call(() => heard.cancelled?.(...told), failed),
    bounced: (...told) => call(() => heard.bounced?.(...told), failed),
    shadowed: (...told) => call(() => heard.shadowed?.(...told), failed),
    budgetWarned: (warning) =>
      call(() => (heard.budgetWarned ? heard.budgetWarned(warning) : warnOf(warning)), failed),
    warned: (sentence) =>
      call(() => (heard.warned ? heard.warned(sentence) : warn(sentence)), failed),
    failed,
  }
}

function warnOf({ subject, step }: Parameters<GateEvents['budgetWarned']>[0]): void {
  warn(`the budget of ${subject} has passed ${step} %`)
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
