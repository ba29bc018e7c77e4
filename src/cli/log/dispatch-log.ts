// Turns what dispatch tells into lines of the log. Must not know: how lines look, or where they go.
import type { DispatchEvents } from '../../dispatch/events.ts'
import type { Log } from '../../telemetry/log.ts'
import type { GateWatch } from './gate-watch.ts'

export function logDispatch(log: Log, watch: GateWatch): DispatchEvents {
  return {
    settled: (facts, outcome, status, actual) => {
      const { input_tokens: inputTokens, output_tokens: outputTokens } = actual
      log.event({ kind: 'request.settled', ...facts, outcome, status, inputTokens, outputTokens })
      watch.look()
    },
    refused: (facts, { reason, retryAfterMs }) =>
      log.event({ kind: 'request.refused', ...facts, reason, retryAfterMs }),
    cancelled: (facts) => log.event({ kind: 'request.cancelled', ...facts }),
    bounced: (facts, reason, status) => {
      log.event({ kind: 'request.bounced', ...facts, reason, status })
      watch.look()
    },
    failed: (error) => log.error('a governed call', error),
  }
}
