// One request over undici, with the two instants of its answer that are measured.
// Must not know: the arrival process.
import { createHash } from 'node:crypto'
import { Pool } from 'undici'

export interface Target {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
}

export interface Exchange {
  /** The first bytes of the answer's body are here. Rejects when the status is not 200. */
  readonly begun: Promise<void>
  /** The SHA-256 of the whole body. */
  readonly finished: Promise<string>
}

export function openPool(target: Target): Pool {
  return new Pool(target.url.origin, { headersTimeout: 0, bodyTimeout: 0 })
}

export interface Pace {
  /** Reads no faster than this. */
  readonly bytesPerMs: number
}

export function exchange(pool: Pool, target: Target, body: Buffer, pace?: Pace): Exchange {
  const begun = Promise.withResolvers<void>()
  const finished = Promise.withResolvers<string>()
  const fail = (error: Error): void => {
    begun.reject(error)
    finished.reject(error)
  }
  // Most callers await one of the two.
  begun.promise.catch(() => {})
  finished.promise.catch(() => {})
  const hash = createHash('sha256')
  const startedAt = performance.now()
  let received = 0
  const request = { path: target.url.pathname, method: 'POST', headers: target.headers, body }
  pool.dispatch(request, {
    onRequestStart: () => {},
    onResponseStart(controller, status) {
      if (status !== 200) controller.abort(new Error(`status ${status}`))
    },
    onResponseData(controller, chunk) {
      begun.resolve()
      hash.update(chunk)
      received += chunk.length
      const aheadMs = pace ? received / pace.bytesPerMs - (performance.now() - startedAt) : 0
      if (aheadMs < 2) return
      controller.pause()
      setTimeout(() => controller.resume(), aheadMs)
    },
    onResponseEnd: () => finished.resolve(hash.digest('hex')),
    onResponseError: (_controller, error) => fail(error),
  })
  return { begun: begun.promise, finished: finished.promise }
}
