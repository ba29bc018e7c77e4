// Ten thousand callers at once, and what is left of them afterwards: nothing.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ask, type Harness, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { postOf } from '../raw-caller.ts'
import { stubUpstream } from '../stub-upstream.ts'

const CALLERS = 10_000
const AT_ONCE = 50
/** Some seconds on a quiet machine. */
const PATIENCE_MS = 60_000

const REQUEST = postOf(
  '/v1/messages',
  { ...ask('x'), system: 'x'.repeat(2000) },
  { connection: 'close' },
)

function crowdBefore(gate: Harness): ChildProcess & Disposable {
  const crowd = fork(fileURLToPath(new URL('../crowd.ts', import.meta.url)))
  crowd.send({
    kind: 'join',
    port: Number(new URL(gate.url).port),
    callers: CALLERS,
    request: REQUEST,
  })
  return Object.assign(crowd, { [Symbol.dispose]: () => void crowd.kill() })
}

/** Connections of this process, to callers and upstream. */
const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length

/** Answers nobody until `letThrough`. */
async function closedUpstream() {
  const waiting: (() => void)[] = []
  let isOpen = false
  const stub = await stubUpstream((response) => {
    const answer = () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    if (isOpen) answer()
    else waiting.push(answer)
  })
  const letThrough = (): void => {
    isOpen = true
    for (const answer of waiting.splice(0)) answer()
  }
  return Object.assign(stub, { letThrough })
}

describe('ten thousand callers', { timeout: 2 * PATIENCE_MS }, () => {
  it('wait at once, and all are answered', async () => {
    const socketsBefore = openSockets()
    await using stub = await closedUpstream()
    await using gate = await openHarness({ upstream: stub.url, anthropic: atOnce(AT_ONCE) })
    using crowd = crowdBefore(gate)
    await until(() => gate.wired.dispatcher.size === CALLERS, PATIENCE_MS)
    expect(await gate.status()).toMatchObject({ inFlight: AT_ONCE, queued: CALLERS - AT_ONCE })
    expect(gate.wired.gateway.bodyBytes).toBeGreaterThan(CALLERS * 2000)
    const over = once(crowd, 'message')
    stub.letThrough()
    expect(await over).toEqual([{ answered: CALLERS }, undefined])
    await gate.idle()
    expect(gate.of('failed')).toEqual([])
    expect(stub.received).toHaveLength(CALLERS)
    await gate.wired.close()
    await until(() => openSockets() <= socketsBefore)
  })

  it('wait at once, and all leave', async () => {
    const socketsBefore = openSockets()
    await using stub = await closedUpstream()
    await using gate = await openHarness({ upstream: stub.url, anthropic: atOnce(AT_ONCE) })
    using crowd = crowdBefore(gate)
    await until(() => gate.wired.dispatcher.size === CALLERS, PATIENCE_MS)
    crowd.send({ kind: 'leave' })
    await gate.idle()
    expect(gate.of('cancelled').length + gate.of('settled').length).toBe(CALLERS)
    expect(gate.of('settled').every(({ outcome }) => outcome === 'abandoned')).toBe(true)
    expect(gate.of('failed')).toEqual([])
    await gate.wired.close()
    await until(() => openSockets() <= socketsBefore)
  })
})
