// What a prompt cache does not see of a request's bytes. Owns: finding cache breakpoints and other
// bytes that change between two requests of one conversation while its content stays the same.
// Must not know: hashes.
import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  isWhitespace,
  NOT_JSON,
  OPEN_BRACE,
  type Span,
  skipString,
  skipValue,
  skipWhitespace,
} from '../json-scan.ts'

/** Bytes to leave out. A breakpoint's say how long everything before them is to be cached. */
export interface Cut extends Span {
  readonly cacheForMs: number
}

const ATTRIBUTION = '"x-anthropic-billing-header:'
const LONE_BLOCK = Buffer.from('[{"type":"text","text":')

const FIVE_MINUTES_MS = 300_000
const HOUR_MS = 3_600_000

/** The API takes four breakpoints; what is beyond this is no request that it would answer. */
const MOST_MARKERS = 64

/** A longer `cache_control` is none: looking for its end must not take long, were they nested. */
const MOST_MARKER_BYTES = 256

/** How far back the opening of a lone block is looked for. */
const MOST_LONE_BLOCK_BYTES = 65_536

/** The cuts inside a part of the prompt, in order; `markerAts` is where breakpoints may stand. */
export function cutsIn(body: Buffer, part: Span, markerAts: readonly number[]): Cut[] {
  const inside = markerAts.filter((at) => at >= part.start && at < part.end).slice(0, MOST_MARKERS)
  return inside.flatMap((at) => {
    const marker = markerAt(body, at)
    return marker ? withLoneBlock(body, marker) : []
  })
}

/** How long a `cache_control` value asks for, or null where it is none: a schema may have the name. */
export function cacheForMs(body: Buffer, value: Span): number | null {
  const text = body.toString(
    'latin1',
    value.start,
    Math.min(value.end, value.start + MOST_MARKER_BYTES),
  )
  if (!text.includes('"ephemeral"')) return null
  return text.includes('"1h"') ? HOUR_MS : FIVE_MINUTES_MS
}

/** A `cache_control` member with one comma beside it: clients move it on with each turn. */
function markerAt(body: Buffer, keyAt: number): Cut | null {
  const colonAt = skipWhitespace(body, keyAt + '"cache_control"'.length)
  const start = body[colonAt] === COLON ? skipWhitespace(body, colonAt + 1) : colonAt
  if (body[start] !== OPEN_BRACE) return null
  const length = skipValue(body.subarray(start, start + MOST_MARKER_BYTES), 0)
  const end = start + length
  const duration = length === NOT_JSON ? null : cacheForMs(body, { start, end })
  return duration === null ? null : { ...withComma(body, keyAt, end), cacheForMs: duration }
}

function withComma(body: Buffer, start: number, end: number): Span {
  let before = start - 1
  while (before > 0 && isWhitespace(body[before])) before--
  if (body[before] === COMMA) return { start: before, end }
  const after = skipWhitespace(body, end)
  return { start, end: body[after] === COMMA ? after + 1 : end }
}

/**
 * A plain string cannot carry a breakpoint, so that a client writes `"content":"Hi"` as one text
 * block for as long as it is marked: the block's brackets are cut with the marker.
 */
function withLoneBlock(body: Buffer, marker: Cut): Cut[] {
  if (body[marker.end] !== CLOSE_BRACE || body[marker.end + 1] !== CLOSE_BRACKET) return [marker]
  const near = Math.max(0, marker.start - MOST_LONE_BLOCK_BYTES)
  const blockAt = body.subarray(near, marker.start).lastIndexOf(LONE_BLOCK)
  const textAt = near + blockAt + LONE_BLOCK.length
  if (blockAt === -1 || skipString(body, textAt) !== marker.start) return [marker]
  return [
    { start: near + blockAt, end: textAt, cacheForMs: 0 },
    { ...marker, end: marker.end + 2 },
  ]
}

/**
 * Claude Code's first system block names its version and a checksum of each request; Anthropic leaves
 * it out of its cache's keys, and so must we, or no two turns of a session would look alike.
 */
export function attributionIn(body: Buffer, system: Span): Cut[] {
  const opening = body.toString('latin1', system.start, Math.min(system.end, system.start + 100))
  const offset = opening.indexOf(ATTRIBUTION)
  if (offset === -1) return []
  const start = system.start + offset
  return [{ start, end: skipString(body, start), cacheForMs: 0 }]
}
