// Batches on virtual time: those of the product and the emulator, with what a test lets happen to the calls
// between them. Owns: driving the clock, a journal in memory. Must not know: what any test proves.
import { VirtualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import type { Call, CallAnswer } from '../../src/fleet/batch/batch-api.ts'
import type { BatchEvent, BatchJournal, PendingBatch } from '../../src/fleet/batch/batch-record.ts'
import type { BatchResult } from '../../src/fleet/batch/batch-result.ts'
import { type BatchRouteOptions, batchResults } from '../../src/fleet/batch/batch-route.ts'
import type { BatchSize, DraftSource, PlacedPayload } from '../../src/fleet/batch/draft.ts'
import { bodyOf } from '../../src/fleet/message-request.ts'
import { Prices } from '../../src/ledger/prices.ts'

export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
const MODEL = 'claude-sonnet-5'

/** A token's cost is a whole number of nano-dollars, also at half the price. */
export const PRICES = new Prices([
  { match: 'claude-sonnet-*', input: 2_000_000, output: 10_000_000 },
])

/** What happens to a call before it is sent, or instead; it may send it first. */
export type Trouble = (
  method: string,
  path: string,
  send: () => Promise<CallAnswer>,
) => Promise<CallAnswer> | null

const running: Emulator[] = []

export async function closeEmulators(): Promise<void> {
  await Promise.all(running.splice(0).map((emulator) => emulator.close()))
}

/** Batches and an emulator on one virtual clock. It moves on when nothing is under way between them. */
export async function open(settings: EmulatorOptions = {}, size: Partial<BatchSize> = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const emulator = await startEmulator({ clock, random: seededRandom(5), settings })
  running.push(emulator)
  const calls: { readonly call: string; readonly at: number }[] = []
  const events: BatchEvent[] = []
  const journal = new MemoryJournal()
  let underWay = 0
  let trouble: Trouble = () => null

  const send = async (method: string, path: string, body: Buffer | null): Promise<CallAnswer> => {
    const answer = await fetch(emulator.url + path, {
      method,
      headers: { 'x-api-key': 'k' },
      ...(body && { body: new Uint8Array(body) }),
    })
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return answerOf(answer.status, bytes, Object.fromEntries(answer.headers))
  }
  const call: Call = async (method, path, body) => {
    calls.push({ call: `${method} ${path.replace(/msgbatch_\w+/, ':id')}`, at: clock.now() })
    underWay++
    try {
      const sent = () => send(method, path, body)
      return await (trouble(method, path, sent) ?? sent())
    } finally {
      underWay--
    }
  }
  const random = seededRandom(9)
  const onEvent = (event: BatchEvent): void => void events.push(event)

  /** Lets time pass until the promise is settled. */
  async function settled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const end = (): void => {
      isSettled = true
    }
    promise.then(end, end)
    while (!isSettled) {
      await new Promise((resolve) => setImmediate(resolve))
      if (underWay === 0 && !isSettled) clock.step()
    }
    return promise
  }
  const dispatch = (payloads: DraftSource, run: RunOptions = {}) =>
    batchResults(payloads, { call, clock, random, prices: PRICES, journal, size, onEvent, ...run })
  const results = (payloads: DraftSource, run: RunOptions = {}) =>
    settled(gathered(dispatch(payloads, run)))
  return {
    clock,
    emulator,
    calls,
    events,
    journal,
    send,
    dispatch,
    results,
    settled,
    meet: (next: Trouble) => {
      trouble = next
    },
    madeBatches: () => calls.filter((it) => it.call === CREATE).length,
  }
}

export type RunOptions = Partial<BatchRouteOptions>

export const CREATE = 'POST /v1/messages/batches'

export class MemoryJournal implements BatchJournal {
  readonly lines: string[] = []
  readonly #pending = new Map<string, PendingBatch>()

  get pending(): readonly PendingBatch[] {
    return [...this.#pending.values()]
  }

  async submitting(batch: PendingBatch): Promise<void> {
    this.#write('submitting', batch)
  }

  async refused(batch: PendingBatch): Promise<void> {
    this.#write('refused', batch)
    this.#pending.delete(batch.name)
  }

  async submitted(batch: PendingBatch): Promise<void> {
    this.#write('submitted', batch)
  }

  async ended(batch: PendingBatch): Promise<void> {
    this.#write('ended', batch)
    this.#pending.delete(batch.name)
  }

  #write(what: string, batch: PendingBatch): void {
    this.lines.push(`${what} ${batch.payloads.length}`)
    this.#pending.set(batch.name, batch)
  }
}

function answerOf(status: number, bytes: Uint8Array, headers = {}): CallAnswer {
  async function* body() {
    yield bytes
  }
  return { status, headers, body: body() }
}

export const refusal = async (status: number, type = 'api_error'): Promise<CallAnswer> =>
  answerOf(status, Buffer.from(JSON.stringify({ error: { type, message: 'no' } })))

/** The same answer with another text. */
export async function retold(
  { status, headers, body }: CallAnswer,
  change: (text: string) => string,
): Promise<CallAnswer> {
  const chunks = await gathered(body)
  return answerOf(status, Buffer.from(change(Buffer.concat(chunks).toString())), headers)
}

export const payload = (
  index: number,
  text = '',
  id = `row ${index}`,
  more = {},
): PlacedPayload => ({
  id,
  index,
  body: bodyOf({
    model: MODEL,
    max_tokens: 100,
    messages: [{ role: 'user', content: `Row ${index} ${text}` }],
    ...more,
  }),
})

export const some = (count: number): PlacedPayload[] =>
  Array.from({ length: count }, (_, index) => payload(index))

export const indexes = (results: readonly BatchResult[]): number[] =>
  results.map(({ index }) => index).sort((a, b) => a - b)

export const reasons = (results: readonly BatchResult[]) =>
  Object.fromEntries(
    results.map((result) => [
      result.index,
      result.kind === 'answered' ? 'answered' : [result.error.type, result.error.isRetryable],
    ]),
  )

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

export async function* cutShort(body: AsyncIterable<Uint8Array>, share: number) {
  for await (const bytes of body) yield bytes.subarray(0, Math.floor(bytes.length * share))
  throw new Error('socket hang up')
}

async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Looks again on every turn of the event loop; the test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
