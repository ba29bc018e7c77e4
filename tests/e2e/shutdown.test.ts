// Closing down without losing anything: those under way finish, those who wait are told to come again.
import { InternalServerError } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { ask, failureOf, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { postOf, rawCaller } from '../raw-caller.ts'
import { stubUpstream } from '../stub-upstream.ts'

const MESSAGE = '{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'

/** One request under way, which `finish` answers, and a gateway that sends one at a time. */
async function openOneUnderWay() {
  let finish = (): void => {}
  const stub = await stubUpstream((response) => {
    finish = () => response.writeHead(200, { 'content-type': 'application/json' }).end(MESSAGE)
  })
  const gate = await openHarness({ upstream: stub.url, anthropic: atOnce(1) })
  const underWay = gate.client().messages.create(ask('x'))
  await until(() => stub.received.length === 1)
  return {
    stub,
    gate,
    underWay,
    finish: () => finish(),
    async [Symbol.asyncDispose]() {
      await gate[Symbol.asyncDispose]()
      await stub[Symbol.asyncDispose]()
    },
  }
}

describe('closing down', () => {
  it('finishes what is under way, sends those who wait elsewhere, and takes no more', async () => {
    await using open = await openOneUnderWay()
    const { gate, underWay } = open
    const waiting = failureOf(gate.client().messages.create(ask('y')))
    await until(async () => (await gate.status()).queued === 1)
    const closed = gate.wired.close()
    const error = await waiting
    if (!(error instanceof InternalServerError)) throw error
    expect(error.status).toBe(503)
    expect(error.headers.get('x-should-retry')).toBe('true')
    expect(error.headers.get('retry-after')).toBe('1')
    await expect(rawCaller(gate.url)).rejects.toThrow()
    open.finish()
    expect((await underWay).type).toBe('message')
    await closed
    expect(gate.wired.dispatcher.size).toBe(0)
    expect(open.stub.received).toHaveLength(1)
  })

  it('does not wait for a connection that has sent nothing, or half a request', async () => {
    await using open = await openOneUnderWay()
    const { gate } = open
    await rawCaller(gate.url)
    const half = await rawCaller(gate.url)
    half.write('POST /v1/messages HTTP/1.1\r\nhost: g\r\ncontent-length: 100\r\n\r\n{')
    await until(() => gate.wired.gateway.bodyBytes > 0)
    const closed = gate.wired.close()
    open.finish()
    await open.underWay
    await closed
  })

  it('does not wait for idle connections that callers keep', async () => {
    await using open = await openOneUnderWay()
    const { gate } = open
    const caller = await rawCaller(gate.url)
    caller.write('GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n')
    await caller.saw('{"status":"ok"}')
    const closed = gate.wired.close()
    open.finish()
    await open.underWay
    await closed
    await caller.closed()
  })

  it('refuses requests that still come over open connections', async () => {
    await using open = await openOneUnderWay()
    const { gate } = open
    // Its body is still on the way when the gateway begins to close.
    const late = await rawCaller(gate.url)
    const bytes = postOf('/v1/messages', ask('late'))
    late.write(bytes.slice(0, -10))
    await until(() => gate.wired.gateway.bodyBytes > 100)
    const closed = gate.wired.close()
    late.write(bytes.slice(-10))
    await late.saw('HTTP/1.1 503 ')
    expect(late.text).toContain('x-should-retry: true')
    open.finish()
    await closed
  })

  it('refuses those who would have to wait again', async () => {
    let refuse = (): void => {}
    await using stub = await stubUpstream((response) => {
      refuse = () => response.writeHead(429, { 'retry-after': '500' }).end('{}')
    })
    await using gate = await openHarness({ upstream: stub.url })
    const answer = failureOf(gate.client().messages.create(ask('x')))
    await until(() => stub.received.length === 1)
    const closed = gate.wired.close()
    refuse()
    const error = await answer
    if (!(error instanceof InternalServerError)) throw error
    expect(error.status).toBe(503)
    await closed
  })

  it('says that it is not ready, and is healthy still', async () => {
    await using open = await openOneUnderWay()
    const { gate } = open
    const ready = await fetch(`${gate.url}/readyz`)
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready' }])
    const begun = async (path: string) => {
      const caller = await rawCaller(gate.url)
      // A second request that has begun before the gateway closes: its connection is not idle.
      const [first, second] = ['/healthz', path].map((at) => `GET ${at} HTTP/1.1\r\nhost: g\r\n`)
      caller.write(`${first}\r\n${second}`)
      await caller.saw('{"status":"ok"}')
      return caller
    }
    const readyz = await begun('/readyz')
    const healthz = await begun('/healthz')
    const closed = gate.wired.close()
    readyz.write('\r\n')
    healthz.write('\r\n')
    await readyz.saw('503 Service Unavailable')
    await until(() => healthz.text.match(/200 OK/g)?.length === 2)
    open.finish()
    await closed
  })

  it('at once ends everything', async () => {
    await using open = await openOneUnderWay()
    const { gate, underWay } = open
    const failed = failureOf(underWay)
    gate.wired.gateway.closeNow()
    expect(await failed).toBeInstanceOf(Error)
    await until(() => open.stub.open.size === 0)
    await gate.idle()
  })
})
