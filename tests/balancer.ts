// A load balancer as plain as they come: connections in turn to whoever takes them. Owns: sockets of both
// sides. Must not know: what is said on them.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface Balancer extends AsyncDisposable {
  readonly url: string
  /** Where new connections go, from now on; those that are there stay where they are. */
  balanceOver(urls: readonly string[]): void
}

export async function startBalancer(urls: readonly string[]): Promise<Balancer> {
  let backends = urls
  let turn = 0
  const sockets = new Set<Socket>()
  const server = createServer({ pauseOnConnect: true }, (near) => {
    keep(near)
    forward(near, backends.length)
  })
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  }
  /** To the next in turn, or the one after that where it takes no connection: nothing is sent by then. */
  const forward = (near: Socket, tries: number): void => {
    const backend = backends[turn++ % backends.length]
    if (backend === undefined || tries === 0) {
      near.destroy()
      return
    }
    const { hostname, port } = new URL(backend)
    const far = connect(Number(port), hostname)
    keep(far)
    const again = (): void => forward(near, tries - 1)
    far.once('error', again)
    far.once('connect', () => {
      far.off('error', again)
      join(near, far)
    })
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    balanceOver: (changed) => {
      backends = changed
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function join(near: Socket, far: Socket): void {
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  near.pipe(far)
  far.pipe(near)
}
