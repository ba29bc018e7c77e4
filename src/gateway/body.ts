// Request bodies. Owns: reading one whole, within the provider's maximum and the process's total;
// dropping one that nobody wants. Must not know: what a body says.
import type { IncomingMessage } from 'node:http'
import type { Clock } from '../core/clock.ts'

/** Bytes of bodies that all callers together may have in memory. */
export class BodyBudget {
  readonly #total: number
  #used = 0

  constructor(totalBytes: number) {
    this.#total = totalBytes
  }

  get used(): number {
    return this.#used
  }

  take(bytes: number): boolean {
    if (this.#used + bytes > this.#total) return false
    this.#used += bytes
    return true
  }

  giveBack(bytes: number): void {
    this.#used -= bytes
  }
}

export type BodyRead =
  | { readonly kind: 'whole'; readonly body: Buffer }
  | { readonly kind: 'body_too_large' | 'memory_full' | 'caller_gone' }

/**
 * Reads a body whole. What it takes of the budget is the caller's to give back when the body is let
 * go: `body.length` bytes if it is whole, nothing otherwise.
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  budget: BodyBudget,
): Promise<BodyRead> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBytes) return Promise.resolve({ kind: 'body_too_large' })
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const finish = (read: BodyRead): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      if (read.kind !== 'whole') budget.giveBack(bytes)
      resolve(read)
    }
    const onData = (chunk: Buffer): void => {
      if (bytes + chunk.length > maxBytes) finish({ kind: 'body_too_large' })
      else if (!budget.take(chunk.length)) finish({ kind: 'memory_full' })
      else {
        bytes += chunk.length
        chunks.push(chunk)
      }
    }
    const onEnd = (): void => {
      const only = chunks.length === 1 ? chunks[0] : undefined
      finish({ kind: 'whole', body: only ?? Buffer.concat(chunks, bytes) })
    }
    const onClose = (): void => finish({ kind: 'caller_gone' })
    request.on('data', onData).on('end', onEnd).on('close', onClose)
  })
}

/** Enough for what is under way; whoever goes on sending has no wish to hear. */
const DROP_FOR_MS = 5000

/**
 * Takes in what still comes of a body, and drops it. Resolves when no more comes, or enough did.
 * A connection that is closed on bytes under way is reset, and an answer on its way may be lost.
 */
export function dropBody(request: IncomingMessage, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      timer.cancel()
      resolve()
    }
    const timer = clock.schedule(clock.now() + DROP_FOR_MS, finish)
    request.once('end', finish).once('close', finish).resume()
  })
}
