// What a request can ask of the emulator in its own text. Must not know: where the text comes from.
import { type FaultName, isFault } from './faults.ts'

/** What `[[emulate output=37 fault=hang]]` asks for. Both words are optional. */
export interface Marker {
  /** The exact length of the answer in tokens (`max_tokens` still cuts it). */
  readonly outputTokens: number | null
  /** One of the names in faults.ts, or `none` to be spared from drawn ones. */
  readonly fault: FaultName | 'none' | null
}

const NO_MARKER: Marker = { outputTokens: null, fault: null }

const OPENING = '[[emulate '
/** Where a marker must end, so that text that only looks like one is not searched far. */
const LONGEST = 100

/**
 * Reads the last marker of a request's raw body: in a conversation, the latest turn's.
 * Words that are unknown are ignored, since this is a prompt's text and not ours.
 */
export function readMarker(body: string): Marker {
  const start = body.lastIndexOf(OPENING)
  if (start < 0) return NO_MARKER
  const words = body.slice(start + OPENING.length, start + LONGEST).split(']]', 1)[0] ?? ''
  const output = /\boutput=(\d{1,7})\b/.exec(words)?.[1]
  const fault = /\bfault=([a-z-]+)/.exec(words)?.[1] ?? ''
  return {
    outputTokens: output === undefined ? null : Number(output),
    fault: fault === 'none' || isFault(fault) ? fault : null,
  }
}
