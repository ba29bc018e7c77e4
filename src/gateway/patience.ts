// How long a client waits in silence, and what it counts as life. Owns: the table of clients.
// Must not know: queues. Facts: measured with the clients' published versions, as of November 2026.
import type { Headers } from '../providers/provider.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

/** What keeps one waiting client from giving up. */
export interface Patience {
  /** Send `102 Processing` so often, where that restarts the client's timer. Null: never. */
  readonly processingEveryMs: number | null
  /** For streams: begin the answer with 200 and pings after so long. Null: never needed. */
  readonly commitStreamAfterMs: number | null
  /** For other requests: refuse after so long, just before the client would give up by itself. */
  readonly longestPlainWaitMs: number
}

/** Once a stream's answer has begun: every client measured was content with 15 s. */
export const PING_EVERY_MS = 15 * SECOND

/** How a kind of client bears silence before the answer's headers. */
interface Temper {
  /** Gives up after so long without a byte. */
  readonly silenceMs: number
  /** Whether an informational response restarts that timer. */
  readonly heedsProcessing: boolean
  /** Gives up after so long whatever comes, until the answer's headers. */
  readonly totalMs: number
}

/** Claude Code runs on Bun, whose fetch ends after 360 s of silence, informational responses or not. */
const CLAUDE_CODE: Temper = { silenceMs: 6 * MINUTE, heedsProcessing: false, totalMs: 10 * MINUTE }
const BUN: Temper = CLAUDE_CODE
/** Node's fetch ends after 300 s without headers; each 1xx restarts that. The SDK's own timer is 600 s. */
const NODE: Temper = { silenceMs: 5 * MINUTE, heedsProcessing: true, totalMs: 10 * MINUTE }
/** httpx restarts its read timer of 600 s at each 1xx, and has no other. */
const PYTHON: Temper = {
  silenceMs: 10 * MINUTE,
  heedsProcessing: true,
  totalMs: Number.POSITIVE_INFINITY,
}
/** HTTP/1.0 knows no informational responses. */
const OLD: Temper = { silenceMs: 5 * MINUTE, heedsProcessing: false, totalMs: 5 * MINUTE }

/** The part of a client's patience that is used: the rest is for the way and for rounding. */
const USED = 0.8

function temperOf(headers: Headers, httpVersion: string): Temper {
  if (httpVersion === '1.0') return OLD
  const agent = headers['user-agent']
  if (typeof agent === 'string' && agent.startsWith('claude-cli/')) return CLAUDE_CODE
  const runtime = headers['x-stainless-runtime']
  if (runtime === 'bun') return BUN
  if (headers['x-stainless-lang'] === 'python') return PYTHON
  return NODE
}

/** The patience of the client that sent these headers. */
export function patienceOf(headers: Headers, httpVersion: string): Patience {
  const temper = temperOf(headers, httpVersion)
  const declared = Number(headers['x-stainless-timeout']) * SECOND
  const totalMs = declared > 0 ? Math.min(temper.totalMs, declared) : temper.totalMs
  const silenceMs = declared > 0 ? Math.min(temper.silenceMs, declared) : temper.silenceMs
  const patienceMs = (temper.heedsProcessing ? totalMs : Math.min(silenceMs, totalMs)) * USED
  return {
    processingEveryMs: temper.heedsProcessing ? Math.min(MINUTE, silenceMs / 3) : null,
    commitStreamAfterMs: Number.isFinite(patienceMs) ? patienceMs : null,
    longestPlainWaitMs: patienceMs,
  }
}
