// Payloads on their way into a batch. Owns: how many go into one, their names there, the body that creates it.
// Must not know: when it is sent.
import { hash } from 'node:crypto'
import type { MessageParams } from '../payload.ts'

/** A payload's place in its job. */
export interface Place {
  readonly id: string
  /** From 0. */
  readonly index: number
  /** The most that it can cost in a batch, in nano-dollars; missing where nobody knows. */
  readonly worstNanoUsd?: number
}

/** A payload that knows its place. */
export interface PlacedPayload extends Place {
  readonly params: MessageParams
}

/**
 * How much goes into one batch. The provider allows 100,000 requests and 256 MB. Less is better: a batch is in
 * memory until it is sent, and what it has answered can be read only when all of it has ended.
 */
export interface BatchSize {
  /** @default 10000 */
  readonly requests: number
  /** @default 32 MB */
  readonly bytes: number
}

/** Among payloads: what was given before is not to wait for more. */
export const SEND_NOW = 'send now'

export const USUAL_SIZE: BatchSize = { requests: 10_000, bytes: 32_000_000 }
const LARGEST_SIZE: BatchSize = { requests: 100_000, bytes: 256_000_000 }

/** The payloads of a batch, by the names that they have there. */
export type Places = ReadonlyMap<string, Place>

export interface Draft {
  readonly places: Places
  readonly body: Buffer
}

const OPENING = Buffer.from('{"requests":[')
const COMMA = Buffer.from(',')
const CLOSING = Buffer.from(']}')

const AS_IT_IS = /^[a-zA-Z0-9_-]{1,64}$/
const HASHED = 'sha256-'

/**
 * What a payload is called in a batch, where only 64 characters of few kinds are allowed: its id, or a hash of
 * it. Always the same, so that results can be told apart without remembering more than ids.
 */
export function customIdOf(id: string): string {
  if (AS_IT_IS.test(id) && !id.startsWith(HASHED)) return id
  return HASHED + hash('sha256', id, 'base64url')
}

export function placesOf(places: Iterable<Place>): Places {
  return new Map(Array.from(places, (place) => [customIdOf(place.id), bare(place)]))
}

/** Without its params. */
function bare({ id, index, worstNanoUsd }: Place): Place {
  return worstNanoUsd === undefined ? { id, index } : { id, index, worstNanoUsd }
}

/** What goes into batches, in order. */
export type DraftSource =
  | Iterable<PlacedPayload | typeof SEND_NOW>
  | AsyncIterable<PlacedPayload | typeof SEND_NOW>

/** Fills one batch after the other; the last has what is left. A payload that is too large is alone in its own. */
export async function* draftsOf(
  payloads: DraftSource,
  size: BatchSize,
): AsyncGenerator<Draft, void, undefined> {
  const mostRequests = Math.min(size.requests, LARGEST_SIZE.requests)
  const mostBytes = Math.min(size.bytes, LARGEST_SIZE.bytes)
  let draft = new OpenDraft()
  for await (const payload of payloads) {
    if (payload === SEND_NOW) {
      if (draft.size === 0) continue
      yield draft.close()
      draft = new OpenDraft()
      continue
    }
    const entry = entryOf(payload)
    const isFull = draft.size === mostRequests || draft.bytes + entry.length > mostBytes
    if (isFull && draft.size > 0) {
      yield draft.close()
      draft = new OpenDraft()
    }
    draft.add(payload, entry)
  }
  if (draft.size > 0) yield draft.close()
}

class OpenDraft {
  readonly #places: Place[] = []
  readonly #parts: Buffer[] = [OPENING]
  bytes = OPENING.length + CLOSING.length

  get size(): number {
    return this.#places.length
  }

  add(place: Place, entry: Buffer): void {
    if (this.size > 0) this.#parts.push(COMMA)
    this.#places.push(bare(place))
    this.#parts.push(entry)
    this.bytes += entry.length + COMMA.length
  }

  close(): Draft {
    return { places: placesOf(this.#places), body: Buffer.concat([...this.#parts, CLOSING]) }
  }
}

/** A batch never streams, whatever the payload says. */
function entryOf({ id, params }: PlacedPayload): Buffer {
  const request = { custom_id: customIdOf(id), params: { ...params, stream: undefined } }
  return Buffer.from(JSON.stringify(request))
}
