// A way to a server that can be cut right after a command has gone through. Owns: the sockets of both
// sides. Must not know: what is said on them.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface LossyProxy extends AsyncDisposable {
  readonly port: number
  /** From now on the server hears everything, and its answers are lost with the connection. */
  loseAnswers(): void
  /** From now on both sides hear nothing, and are not told. What is connected now stays so for good. */
  freeze(): void
  /** As before, for those who connect. */
  mend(): void
}

export async function startLossyProxy(targetPort: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>()
  const frozen = new WeakSet<Socket>()
  let state: 'fine' | 'loses' | 'frozen' = 'fine'
  const server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      if (state === 'frozen') frozen.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        if (!frozen.has(from)) to.destroy()
      })
      from.on('data', (chunk: Buffer) => {
        if (frozen.has(from)) return
        if (state === 'loses' && from === far) near.destroy()
        else to.write(chunk)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    loseAnswers: () => {
      state = 'loses'
    },
    freeze: () => {
      state = 'frozen'
      for (const socket of sockets) frozen.add(socket)
    },
    mend: () => {
      state = 'fine'
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
