// A crowd of plain callers in a process of its own, since each end of a connection takes one of the
// descriptors that a process may have. Started by held-callers.test.ts; speaks in messages.
import { connect, type Socket } from 'node:net'
import { z } from 'zod'

const order = z.union([
  z.object({ kind: z.literal('join'), port: z.number(), callers: z.number(), request: z.string() }),
  z.object({ kind: z.literal('leave') }),
])

/** So many connect at a time: a listener's backlog is bounded. */
const TOGETHER = 400

const sockets: Socket[] = []
let answered = 0
let closed = 0

function joinOne(port: number, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(request)
      resolve()
    })
    socket.once('data', (head) => {
      if (head.toString('latin1').startsWith('HTTP/1.1 200 ')) answered++
    })
    socket.on('error', reject)
    socket.on('close', () => {
      closed++
      if (closed === sockets.length) process.send?.({ answered })
    })
    sockets.push(socket)
  })
}

async function join(port: number, callers: number, request: Buffer): Promise<void> {
  const one = async (): Promise<void> => {
    while (sockets.length < callers) await joinOne(port, request)
  }
  await Promise.all(Array.from({ length: TOGETHER }, one))
}

process.on('message', (message) => {
  const wanted = order.parse(message)
  if (wanted.kind === 'leave') for (const socket of sockets) socket.resetAndDestroy()
  else void join(wanted.port, wanted.callers, Buffer.from(wanted.request))
})
