// A coordinator that does what a test tells it to, request by request, on a real socket.
// Owns: listening, handing requests to the test, closing. Must not know: what a client should do.
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { json } from 'node:stream/consumers'

export interface ScriptedCoordinator extends AsyncDisposable {
  readonly url: string
  /** The next request that came or comes, with method and path as named. Others before it are an error. */
  next(methodAndPath: string): Promise<Exchange>
  /** Requests that no `next` has taken. */
  readonly untaken: readonly string[]
}

/** One request, and the ways to answer it. */
export class Exchange {
  readonly name: string
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
  readonly #response: ServerResponse
  readonly #closed: Promise<void>

  constructor(name: string, headers: IncomingHttpHeaders, body: unknown, response: ServerResponse) {
    this.name = name
    this.headers = headers
    this.body = body
    this.#response = response
    this.#closed = new Promise((resolve) => response.once('close', resolve))
  }

  answer(status: number, document?: object): void {
    this.#response.writeHead(status, { 'content-type': 'application/json' })
    this.#response.end(document && JSON.stringify(document))
  }

  event(name: string, document: object): void {
    void this.write(`event: ${name}\ndata: ${JSON.stringify(document)}\n\n`)
  }

  /** Resolves when the bytes have gone out. */
  write(bytes: string | Uint8Array): Promise<void> {
    if (!this.#response.headersSent)
      this.#response.writeHead(200, { 'content-type': 'text/event-stream' })
    return new Promise((resolve) => this.#response.write(bytes, () => resolve()))
  }

  end(): void {
    this.#response.end()
  }

  drop(): void {
    this.#response.socket?.destroy()
  }

  /** Resolves when the connection is over, whoever ended it. */
  closed(): Promise<void> {
    return this.#closed
  }
}

export async function scriptCoordinator(): Promise<ScriptedCoordinator> {
  const come: Exchange[] = []
  const wanted: ((exchange: Exchange) => void)[] = []
  const open = new Set<Socket>()
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request
    const body: unknown = headers['content-type'] ? await json(request) : null
    const exchange = new Exchange(`${method} ${url}`, headers, body, response)
    const taker = wanted.shift()
    if (taker) taker(exchange)
    else come.push(exchange)
  })
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    async next(name) {
      const first = come.shift()
      const exchange = first ?? (await new Promise<Exchange>((resolve) => wanted.push(resolve)))
      if (exchange.name !== name) throw new Error(`${exchange.name} came instead of ${name}`)
      return exchange
    },
    get untaken() {
      return come.map(({ name }) => name)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
