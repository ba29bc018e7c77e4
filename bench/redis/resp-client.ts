// A client that costs little, so that the server is what is measured. Owns: the protocol, one write for
// all that is sent in one turn of the event loop. Must not know: what is sent.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export type Reply = string | number | null | Error | readonly Reply[]

const CR_LF = 2

export class RespClient {
  readonly #socket: Socket
  readonly #waiting: ((reply: Reply) => void)[] = []
  #answered = 0
  #unsent = ''
  #received = ''
  #at = 0
  #hearUnasked: (line: string) => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    // One character a byte: packed values pass through unharmed, and positions are those of the bytes.
    socket.setEncoding('latin1')
    socket.on('data', (data: string) => this.#hear(data))
  }

  static async connect(url: string): Promise<RespClient> {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    return new RespClient(socket)
  }

  call(...command: readonly string[]): Promise<Reply> {
    return this.request(encode(command))
  }

  /** Rejects when the server answers with an error. */
  async request(encoded: string): Promise<Reply> {
    const { promise, resolve } = Promise.withResolvers<Reply>()
    this.send(encoded, resolve)
    const reply = await promise
    if (reply instanceof Error) throw reply
    return reply
  }

  /** As `call`, for a command that is encoded already. */
  send(encoded: string, hear: (reply: Reply) => void): void {
    this.#waiting.push(hear)
    if (this.#unsent === '') setImmediate(() => this.#flush())
    this.#unsent += encoded
  }

  /** Hears what comes without being asked for, as after MONITOR. */
  watch(hear: (line: string) => void): void {
    this.#hearUnasked = hear
  }

  close(): void {
    this.#socket.destroy()
  }

  #flush(): void {
    this.#socket.write(this.#unsent, 'latin1')
    this.#unsent = ''
  }

  #hear(data: string): void {
    this.#received += data
    this.#at = 0
    for (;;) {
      const begin = this.#at
      const reply = this.#read()
      if (reply === undefined) {
        this.#received = this.#received.slice(begin)
        break
      }
      const hear = this.#waiting[this.#answered]
      if (hear) this.#answered++
      else this.#hearUnasked(String(reply))
      hear?.(reply)
    }
    if (this.#answered < this.#waiting.length && this.#answered < 10_000) return
    this.#waiting.splice(0, this.#answered)
    this.#answered = 0
  }

  /** The next reply, or undefined while it is not all there. */
  #read(): Reply | undefined {
    const end = this.#received.indexOf('\r\n', this.#at)
    if (end < 0) return undefined
    const kind = this.#received[this.#at]
    const line = this.#received.slice(this.#at + 1, end)
    this.#at = end + CR_LF
    switch (kind) {
      case '+':
        return line
      case '-':
        return new Error(line)
      case ':':
        return Number(line)
      case '$':
        return this.#readBulk(Number(line))
      default:
        return this.#readList(Number(line))
    }
  }

  #readBulk(length: number): Reply | undefined {
    if (length < 0) return null
    const from = this.#at
    if (this.#received.length < from + length + CR_LF) return undefined
    this.#at = from + length + CR_LF
    return this.#received.slice(from, from + length)
  }

  #readList(length: number): Reply | undefined {
    if (length < 0) return null
    const list: Reply[] = []
    while (list.length < length) {
      const reply = this.#read()
      if (reply === undefined) return undefined
      list.push(reply)
    }
    return list
  }
}

/** Parts are texts of one byte a character. */
export function encode(parts: readonly string[]): string {
  let encoded = `*${parts.length}\r\n`
  for (const part of parts) encoded += `$${part.length}\r\n${part}\r\n`
  return encoded
}
