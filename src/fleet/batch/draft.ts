// Payloads on their way into a batch. Owns: how many go into one, their names there, the body that creates it.
// Must not know: when it is sent.

/** A payload's place in its job. */
export interface Place {
  readonly id: string
  /** From 0. */
  readonly index: number
  /** The most that it can cost in a batch, in nano-dollars; missing where nobody knows. */
  readonly worstNanoUsd?: number
  /** Of the usual price, in per cent, as it was asked for. @default 100 */
  readonly pricePercent?: number
}

/** A payload that knows its place. */
export interface PlacedPayload extends Place {
  /** The request, as JSON. A batch never streams. */
  readonly body: Buffer
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

export interface Draft {
  /** Like no other batch's. */
  readonly name: string
  readonly payloads: readonly Place[]
  readonly body: Buffer
}

const OPENING = Buffer.from('{"requests":[')
const CLOSING = Buffer.from(']}')
const ENTRY_CLOSING = Buffer.from('}')

/**
 * What a payload is called in a batch, where only 64 characters of few kinds are allowed. It says which batch that
 * is, since nothing else that is told of a batch does, and two payloads of a job never share it.
 */
export const requestName = (batchName: string, { index }: Place): string => `${batchName}-${index}`

/** Without its body. */
function bare({ body: _, ...place }: PlacedPayload): Place {
  return place
}

/** What goes into batches, in order. */
export type DraftSource =
  | Iterable<PlacedPayload | typeof SEND_NOW>
  | AsyncIterable<PlacedPayload | typeof SEND_NOW>

export interface DraftOptions {
  readonly size: BatchSize
  /** From 0 up to 1: names batches. */
  readonly random: () => number
}

/** Fills one batch after the other; the last has what is left. A payload that is too large is alone in its own. */
export async function* draftsOf(
  payloads: DraftSource,
  { size, random }: DraftOptions,
): AsyncGenerator<Draft, void, undefined> {
  const most: BatchSize = {
    requests: Math.min(size.requests, LARGEST_SIZE.requests),
    bytes: Math.min(size.bytes, LARGEST_SIZE.bytes),
  }
  let draft = new OpenDraft(newName(random))
  for await (const payload of payloads) {
    const isFull = payload === SEND_NOW || !draft.hasRoomFor(payload, most)
    if (isFull && draft.size > 0) {
      yield draft.close()
      draft = new OpenDraft(newName(random))
    }
    if (payload !== SEND_NOW) draft.add(payload)
  }
  if (draft.size > 0) yield draft.close()
}

const newName = (random: () => number): string =>
  `hg_${Math.floor(random() * 36 ** 10)
    .toString(36)
    .padStart(10, '0')}`

class OpenDraft {
  readonly #name: string
  readonly #payloads: Place[] = []
  #parts: Buffer[] = [OPENING]
  #bytes = OPENING.length + CLOSING.length

  constructor(name: string) {
    this.#name = name
  }

  get size(): number {
    return this.#payloads.length
  }

  hasRoomFor(payload: PlacedPayload, most: BatchSize): boolean {
    return this.size < most.requests && this.#bytes + lengthOf(this.#entry(payload)) <= most.bytes
  }

  add(payload: PlacedPayload): void {
    const entry = this.#entry(payload)
    this.#bytes += lengthOf(entry)
    this.#payloads.push(bare(payload))
    this.#parts.push(...entry)
  }

  /** Only once. The parts are gone then: whoever filled it may hold on to it for long. */
  close(): Draft {
    const parts = this.#parts
    this.#parts = []
    const body = Buffer.concat([...parts, CLOSING])
    return { name: this.#name, payloads: this.#payloads, body }
  }

  #entry(payload: PlacedPayload): readonly Buffer[] {
    const opening = `{"custom_id":"${requestName(this.#name, payload)}","params":`
    const separated = this.size > 0 ? `,${opening}` : opening
    return [Buffer.from(separated), payload.body, ENTRY_CLOSING]
  }
}

const lengthOf = (entry: readonly Buffer[]): number =>
  entry.reduce((sum, { length }) => sum + length, 0)
