// Upstreams that no emulator would be: each test says byte for byte what they do.
// Owns: listening, recording what came, closing. Must not know: any API.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createNetServer, type Server, type Socket } from 'node:net'

export interface Received {
  readonly method: string
  readonly url: string
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

export interface Stub extends AsyncDisposable {
  readonly url: string
  readonly received: readonly Received[]
  /** Connections that are open now. */
  readonly open: ReadonlySet<Socket>
}

/** Answers each request, once it has come whole. */
export async function stubUpstream(
  answer: (response: ServerResponse, received: Received, request: IncomingMessage) => void,
): Promise<Stub> {
  const received: Received[] = []
  const server = createServer({ keepAliveTimeout: 120_000 }, async (request, response) => {
    const body = await bodyOf(request)
    if (body === null) return
    const { method = '', url = '', rawHeaders, headers } = request
    const one = { method, url, rawHeaders, headers, body }
    received.push(one)
    answer(response, one, request)
  })
  return stub(server, received)
}

/** Does as it likes with each connection. */
export async function rawUpstream(connected: (socket: Socket) => void): Promise<Stub> {
  const server = createNetServer((socket) => {
    socket.on('error', () => {})
    connected(socket)
  })
  return stub(server, [])
}

/** Answers the first bytes of each connection with other bytes, written one by one as given. */
export function rawAnswer(...parts: readonly (string | Buffer)[]): Promise<Stub> {
  return rawUpstream((socket) => {
    socket.setNoDelay(true)
    socket.once('data', () => {
      const rest = [...parts]
      const next = (): void => {
        const part = rest.shift()
        if (part === undefined) socket.end()
        // Each part is on its way alone before the next is written.
        else socket.write(part, () => setImmediate(next))
      }
      next()
    })
  })
}

/** A URL at which nobody listens. */
export async function deadUrl(): Promise<string> {
  const { url, [Symbol.asyncDispose]: close } = await rawUpstream(() => {})
  await close()
  return url
}

async function stub(server: Server, received: readonly Received[]): Promise<Stub> {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    open,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk)
  } catch {
    return null
  }
  return Buffer.concat(chunks)
}
