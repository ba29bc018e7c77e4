// Turns what dispatch tells into lines of the log. Must not know: how lines look, or where they go.
import type { DispatchEvents } from '../../dispatch/events.ts'
import type { Log } from '../../telemetry/log.ts'
import type { GateWatch } from './gate-watch.ts'

const NANO = 1e9

export function logDispatch(log: Log, watch: GateWatch): DispatchEvents {
  return {
    settled: (facts, outcome, status, actual) => {
      const { input_tokens: inputTokens, output_tokens: outputTokens } = actual
      const usage = { inputTokens, outputTokens, costUsd: actual.cost / NANO }
      log.event({ kind: 'request.settled', ...facts, outcome, status, ...usage })
      watch.look()
    },
    refused: (facts, { reason, retryAfterMs }) =>
      log.event({ kind: 'request.refused', ...facts, reason, retryAfterMs }),
    cancelled: (facts) => log.event({ kind: 'request.cancelled', ...facts }),
    bounced: (facts, reason, status) => {
      log.event({ kind: 'request.bounced', ...facts, reason, status })
      watch.look()
    },
    shadowed: (facts, rule) => log.event({ kind: 'request.shadowed', ...facts, rule }),
    budgetWarned: ({ subject, step, spent, amount, period, isShadow }) =>
      log.event({
        kind: 'budget.warned',
        subject,
        step,
        spentUsd: spent / NANO,
        amountUsd: amount / NANO,
        period: period.unit,
        mode: isShadow ? 'shadow' : 'enforced',
      }),
    failed: (error) => log.error('a governed call', error),
  }
}
