// A caller made of one plain socket, for what no client library would do or show.
// Owns: writing bytes, gathering what comes back. Must not know: what it means.
import { connect, type Socket } from 'node:net'
import { KEY, until } from './harness.ts'

export interface RawCaller {
  readonly socket: Socket
  /** All that has come so far, bytes as Latin-1 characters. */
  readonly text: string
  readonly isClosed: boolean
  write(text: string | Buffer): void
  /** Resolves when the text contains this. */
  saw(part: string): Promise<void>
  closed(): Promise<void>
  /** Goes without a goodbye. */
  hangUp(): void
}

export async function rawCaller(url: string): Promise<RawCaller> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  let isClosed = false
  socket.setNoDelay(true)
  socket.setEncoding('latin1')
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    isClosed = true
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return {
    socket,
    get text() {
      return text
    },
    get isClosed() {
      return isClosed
    },
    write: (bytes) => void socket.write(bytes),
    saw: (part) => until(() => text.includes(part)),
    closed: () => until(() => isClosed),
    hangUp: () => socket.resetAndDestroy(),
  }
}

/** The bytes of a POST with a JSON body. */
export function postOf(
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): string {
  const json = typeof body === 'string' ? body : JSON.stringify(body)
  const lines = Object.entries({
    host: 'gateway',
    'content-type': 'application/json',
    'x-api-key': KEY,
    'anthropic-version': '2023-06-01',
    'content-length': String(Buffer.byteLength(json)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${json}`
}
