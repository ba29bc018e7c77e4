// A client that waits on an open connection. Owns: what is written to it, as one answer or as a stream of
// events. Must not know: when its turn comes, or when it is to be shown life.
import type { ServerResponse } from 'node:http'
import type { Prediction } from '../../core/admission.ts'
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { LeaseAsk, LeaseOutcome } from '../../dispatch/lease-ask.ts'
import { problemOf, sendJson, sendProblem } from '../exchange.ts'
import { granted, progressOf } from './lease-documents.ts'
import type { Watcher } from './waiting-room.ts'

const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
}

/** A client that does not read is told nothing more until it does. */
const MOST_UNREAD_BYTES = 16 * 1024

export class WaitingClient implements Watcher {
  // Kept by the waiting room.
  dueAt: EpochMs = 0
  heapIndex = -1
  lookAt: EpochMs = 0
  silentSince: EpochMs = 0

  readonly #ask: LeaseAsk
  readonly #response: ServerResponse
  readonly #wantsEvents: boolean
  readonly #clock: Clock

  constructor(ask: LeaseAsk, response: ServerResponse, wantsEvents: boolean, clock: Clock) {
    this.#ask = ask
    this.#response = response
    this.#wantsEvents = wantsEvents
    this.#clock = clock
  }

  position(): Promise<Prediction | null> {
    return this.#ask.position()
  }

  /** Begins the stream, before there is anything to say. */
  begin(): void {
    this.#response.writeHead(200, STREAM_HEADERS)
    this.#response.flushHeaders()
  }

  showPlace(prediction: Prediction): void {
    const { id, resource, isPlaceLost } = this.#ask
    const progress = progressOf(prediction, this.#clock.now())
    const lost = isPlaceLost && { placeLost: true }
    this.#write(eventOf('waiting', { id, resource, ...progress, ...lost }))
  }

  showLife(): void {
    this.#write(': waiting\n\n')
  }

  tell(outcome: LeaseOutcome): void {
    const isStream = this.#response.headersSent
    if (outcome.kind === 'refused') {
      const document = problemOf(outcome.refusal)
      if (isStream) this.#response.end(eventOf('refused', document))
      else sendProblem(this.#response, document)
      return
    }
    const document = granted(outcome.lease)
    if (this.#wantsEvents) {
      if (!isStream) this.#response.writeHead(200, STREAM_HEADERS)
      this.#response.end(eventOf('granted', document))
    } else {
      const location = `/headgate/v1/leases/${document.id}`
      sendJson(this.#response, 201, document, { location })
    }
  }

  #write(text: string): void {
    const { writableEnded, writableLength } = this.#response
    if (!writableEnded && writableLength < MOST_UNREAD_BYTES) this.#response.write(text)
  }
}

const eventOf = (name: string, document: unknown): string =>
  `event: ${name}\ndata: ${JSON.stringify(document)}\n\n`
