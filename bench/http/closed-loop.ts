// A closed loop: a fixed number of connections, each with one request in flight, always the same
// bytes. Raw sockets, so that the load costs little beside the proxy. Must not know: the peers.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface ClosedLoop {
  readonly url: URL
  readonly request: Buffer
  readonly connections: number
  readonly durationMs: number
}

export interface ClosedLoopFigures {
  readonly requests: number
  /** Answers whose status was not 200. */
  readonly failures: number
  readonly elapsedMs: number
}

const STALLED_MS = 30_000

/** Requests begun before the time is up are awaited and counted. */
export async function runClosedLoop(loop: ClosedLoop): Promise<ClosedLoopFigures> {
  const startedAt = performance.now()
  const isOver = (): boolean => performance.now() - startedAt >= loop.durationMs
  const workers = Array.from({ length: loop.connections }, () => runWorker(loop, isOver))
  const counts = await Promise.all(workers)
  return {
    requests: counts.reduce((sum, count) => sum + count.requests, 0),
    failures: counts.reduce((sum, count) => sum + count.failures, 0),
    elapsedMs: performance.now() - startedAt,
  }
}

async function runWorker(
  loop: ClosedLoop,
  isOver: () => boolean,
): Promise<{ requests: number; failures: number }> {
  const socket = connect(Number(loop.url.port), loop.url.hostname).setNoDelay(true)
  await once(socket, 'connect')
  let requests = 0
  let failures = 0
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.setTimeout(STALLED_MS, () => reject(new Error('the proxy left a request unanswered')))
  socket.on('error', reject)
  socket.on('close', () => reject(new Error('the proxy closed a connection under load')))
  onEachAnswer(socket, (status) => {
    requests++
    if (status !== 200) failures++
    if (isOver()) resolve()
    else socket.write(loop.request)
  })
  socket.write(loop.request)
  await promise.finally(() => socket.destroy())
  return { requests, failures }
}

/** Calls back once for each whole answer, of known length or chunked. */
function onEachAnswer(socket: Socket, answered: (status: number) => void): void {
  let status = 0
  let missing: number | null = 0
  let tail = ''
  let pending = ''
  const read = (chunk: Buffer): void => {
    let bodyBytes = chunk.length
    if (status === 0) {
      pending += chunk.toString('latin1')
      const headEnd = pending.indexOf('\r\n\r\n')
      if (headEnd < 0) return
      status = Number(pending.slice(9, 12))
      const length = /\r\ncontent-length: *(\d+)/i.exec(pending.slice(0, headEnd))?.[1]
      missing = length === undefined ? null : Number(length)
      bodyBytes = pending.length - headEnd - 4
      tail = pending.slice(-7)
      pending = ''
    } else if (missing === null) {
      tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - 7))).slice(-7)
    }
    if (missing !== null) missing -= bodyBytes
    if (missing === null ? !tail.endsWith('\r\n0\r\n\r\n') : missing > 0) return
    const finished = status
    status = 0
    answered(finished)
  }
  socket.on('data', read)
}

/** The bytes of a POST as a client of Anthropic would send it. */
export function messagesRequest(url: URL, body: Buffer, headers: Record<string, string>): Buffer {
  const lines = Object.entries({ host: url.host, ...headers, 'content-length': `${body.length}` })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.concat([Buffer.from(`POST ${url.pathname} HTTP/1.1\r\n${head}\r\n`), body])
}
