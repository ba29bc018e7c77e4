// A gateway whose gates live in a Redis, as its operator sees it.
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { statusSchema } from '../../src/control/status.ts'
import { until } from '../harness.ts'
import { freshPrefix, type RedisServer, sharedRedis, startRedis } from '../servers/redis.ts'
import { fakeIo } from './fake-io.ts'

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function ownServer(): Promise<RedisServer> {
  const server = await startRedis()
  cleanUps.push(() => server.stop())
  return server
}

/** A gateway in this process, until the test ends. */
async function serve(...flags: string[]) {
  const io = fakeIo()
  const ended = main(['--port', '0', ...flags], io)
  const out = await io.until('gate.listening')
  const listening = JSON.parse(out.split('\n').find((line) => line.includes('listening')) ?? '')
  cleanUps.push(async () => {
    io.process.emit('SIGTERM', 'SIGTERM')
    expect(await ended).toBe(0)
  })
  const url = String(listening.url)
  const read = async (path: string) => (await fetch(url + path)).json()
  return { io, url, listening, read }
}

const eventsIn = (out: string): Record<string, unknown>[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

describe('a gateway with a Redis', () => {
  it('says where its store is, and that it is well', async () => {
    const { url } = await sharedRedis()
    const store = `${url}?prefix=${freshPrefix()}`
    const { io, listening, read } = await serve('--store', store)
    expect(listening).toMatchObject({ event: 'gate.listening', store })
    expect(await read('/readyz')).toEqual({ status: 'ready' })
    expect(await read('/headgate/v1/status')).toMatchObject({
      store: { kind: 'redis', degraded: false, onFailure: 'degrade' },
    })
    expect(eventsIn(io.out()).map(({ event }) => event)).toEqual(['gate.listening'])
  })

  it('starts without it, works, says so, and says when it is there', async () => {
    const server = await ownServer()
    await server.kill()
    const { io, url, read } = await serve('--store', `${server.url}?prefix=${freshPrefix()}`)
    await io.until('gate.warned')
    expect(io.out()).toContain('refuses connections: the gate goes on without it until it is back')
    await io.until('store.degraded')
    expect(await read('/readyz')).toEqual({ status: 'ready', store: 'degraded' })
    const status = fakeIo({ columns: 140 })
    expect(await main(['status', '--url', url], status)).toBe(0)
    expect(status.out()).toContain(
      'redis store out of reach: a share of the limits until it is back',
    )
    await server.restart()
    await io.until('store.returned')
    await until(async () => {
      const { store } = statusSchema.parse(await read('/headgate/v1/status'))
      return !store.degraded
    })
    const outages = eventsIn(io.out()).filter(({ event }) => String(event).startsWith('store.'))
    expect(outages).toMatchObject([
      { event: 'store.degraded', level: 'warn', policy: 'degrade', instances: 1 },
      { event: 'store.returned', level: 'info', rejoined: 0 },
    ])
  })

  it('ends at once where the store refuses its password, and never shows that', async () => {
    const { url } = await sharedRedis()
    const io = fakeIo({ env: { HEADGATE_STORE: url.replace('://', '://nobody:hunter2@') } })
    expect(await main(['--port', '0'], io)).toBe(1)
    expect(io.err()).toMatch(/^headgate: the store redis:\S+ refuses the user or the password.*\n$/)
    expect(io.err() + io.out()).not.toContain('hunter2')
  })

  it('lets go of the store when it cannot listen', async () => {
    const server = await ownServer()
    const { url } = await serve()
    const { port } = new URL(url)
    const io = fakeIo()
    expect(await main(['--port', port, '--store', server.url], io)).toBe(1)
    expect(io.err()).toContain('is in use')
    const client = new Redis(server.port)
    cleanUps.push(async () => client.disconnect())
    await until(async () => !String(await client.client('LIST')).includes('name=headgate'))
  })
})
