// Clients that wait for leases over sockets of their own, as plain as an HTTP client can be. Owns: asking,
// and telling who was granted. Must not know: what is measured.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Granted {
  readonly id: string
  /** When the first byte of the answer came, in milliseconds of this process. */
  readonly at: number
}

const CONNECTING_AT_ONCE = 100

/** How a client hears of its turn: the plain answer, or events. */
export type Hearing = 'answer' | 'events'

function askFor(url: URL, hearing: Hearing): Buffer {
  const body = JSON.stringify({ resource: 'slots', load: 1, maxWaitMs: 3_600_000, ttlMs: 600_000 })
  const lines = [
    'POST /headgate/v1/leases HTTP/1.1',
    `host: ${url.host}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
    ...(hearing === 'events' ? ['accept: text/event-stream'] : []),
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

const LEASE = /"id":"([^"]+)","resource":"[^"]+","grantedAt"/

export class Crowd {
  readonly #url: URL
  readonly #request: Buffer
  readonly #sockets = new Set<Socket>()
  onGranted: (granted: Granted) => void = () => {}
  onFailed: (why: string) => void = (why) => {
    throw new Error(why)
  }

  constructor(url: URL, hearing: Hearing) {
    this.#url = url
    this.#request = askFor(url, hearing)
  }

  get waiting(): number {
    return this.#sockets.size
  }

  async join(count: number): Promise<void> {
    for (let joined = 0; joined < count; joined += CONNECTING_AT_ONCE) {
      const batch = Array.from({ length: Math.min(CONNECTING_AT_ONCE, count - joined) }, () =>
        connect(Number(this.#url.port), this.#url.hostname),
      )
      await Promise.all(batch.map((socket) => once(socket, 'connect')))
      for (const socket of batch) this.#ask(socket)
    }
  }

  leave(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  #ask(socket: Socket): void {
    this.#sockets.add(socket)
    let heard = ''
    socket.on('error', ({ message }) => this.onFailed(message))
    socket.on('data', (chunk) => {
      const at = performance.now()
      heard += chunk.toString('latin1')
      const id = LEASE.exec(heard)?.[1]
      if (id !== undefined) {
        this.#sockets.delete(socket)
        socket.destroy()
        this.onGranted({ id, at })
      } else if (/^HTTP\/1\.1 [45]/.test(heard)) {
        this.onFailed(heard.slice(0, 300))
      }
    })
    socket.write(this.#request)
  }
}
