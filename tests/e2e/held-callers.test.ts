// Ten thousand callers at once, and what is left of them afterwards: nothing.
import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ask, type Harness, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { postOf } from '../raw-caller.ts'
import { stubUpstream } from '../stub-upstream.ts'

const CALLERS = 10_000
/** So many connect at a time: the machine's own backlog is bounded. */
const TOGETHER = 250

const PADDED = { ...ask('x'), system: 'x'.repeat(2000) }

interface Crowd {
  readonly sockets: readonly Socket[]
  /** Callers that have been answered with 200. */
  answered(): number
}

async function crowdBefore(gate: Harness): Promise<Crowd> {
  const { hostname, port } = new URL(gate.url)
  const request = Buffer.from(postOf('/v1/messages', PADDED, { connection: 'close' }))
  const sockets: Socket[] = []
  let answered = 0
  const join = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(request)
        resolve()
      })
      socket.once('data', (head) => {
        if (head.toString('latin1').startsWith('HTTP/1.1 200 ')) answered++
      })
      socket.on('error', reject)
      sockets.push(socket)
    })
  while (sockets.length < CALLERS) await Promise.all(Array.from({ length: TOGETHER }, join))
  return { sockets, answered: () => answered }
}

const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length

/** Answers nobody until `open` is called. */
async function closedUpstream() {
  const waiting: (() => void)[] = []
  let isOpen = false
  const stub = await stubUpstream((response) => {
    const answer = () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    if (isOpen) answer()
    else waiting.push(answer)
  })
  const open = (): void => {
    isOpen = true
    for (const answer of waiting.splice(0)) answer()
  }
  return Object.assign(stub, { letThrough: open })
}

describe('ten thousand callers', () => {
  it('wait at once, and all are answered', async () => {
    const socketsBefore = openSockets()
    await using stub = await closedUpstream()
    await using gate = await openHarness({ upstream: stub.url, anthropic: atOnce(50) })
    const crowd = await crowdBefore(gate)
    await until(async () => (await gate.status()).queued === CALLERS - 50)
    expect(gate.wired.dispatcher.size).toBe(CALLERS)
    expect(gate.wired.gateway.bodyBytes).toBeGreaterThan(CALLERS * 2000)
    stub.letThrough()
    await until(() => crowd.answered() === CALLERS, 20_000)
    await gate.idle()
    await until(() => crowd.sockets.every(({ closed }) => closed))
    expect(gate.of('failed')).toEqual([])
    await gate.wired.close()
    await until(() => openSockets() <= socketsBefore + stub.open.size)
  })

  it('wait at once, and all leave', async () => {
    const socketsBefore = openSockets()
    await using stub = await closedUpstream()
    await using gate = await openHarness({ upstream: stub.url, anthropic: atOnce(50) })
    const crowd = await crowdBefore(gate)
    await until(async () => (await gate.status()).queued === CALLERS - 50)
    for (const socket of crowd.sockets) socket.resetAndDestroy()
    await gate.idle()
    expect(gate.of('cancelled').length + gate.of('settled').length).toBe(CALLERS)
    // Nearly all left before their turn came: each one's place went to nobody.
    expect(stub.received.length).toBeLessThanOrEqual(CALLERS / 10)
    await until(() => stub.open.size === 0)
    expect(gate.of('failed')).toEqual([])
    await gate.wired.close()
    await until(() => openSockets() <= socketsBefore)
  })
})
