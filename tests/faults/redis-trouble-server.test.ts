// Gateways whose Redis is there and does not do what it should.
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { startLossyProxy } from '../redis/lossy-proxy.ts'
import { type RedisServer, startRedis } from '../servers/redis.ts'
import { openShared, type SharedGateways } from './shared-gateways.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function serverWith(...args: string[]): Promise<RedisServer> {
  const server = await startRedis({ args })
  cleanUps.push(() => server.stop())
  return server
}

async function open(urls: string | readonly [string, string]): Promise<SharedGateways> {
  const shared = await openShared(urls, atOnce(2))
  cleanUps.push(() => shared[Symbol.asyncDispose]())
  return shared
}

/** Two are under way, four wait. */
async function busy({ gates, provider, send, shows, acquainted }: SharedGateways): Promise<void> {
  const [one, other] = gates
  send(one, 'a1')
  await until(() => provider.unanswered.length === 1)
  send(other, 'b1')
  await until(() => provider.unanswered.length === 2)
  send(one, 'a2', 'a3')
  send(other, 'b2', 'b3')
  await shows(one, { inFlight: 2, queued: 4 })
  await acquainted()
}

const outagesOf = ({ gates }: SharedGateways) =>
  gates.map((gate) => gate.of('store_degraded').length)

describe('a Redis that forgets its functions', () => {
  it('is told them again, and nobody notices', async () => {
    const server = await serverWith()
    const shared = await open(server.url)
    const { provider, command, end } = shared
    await busy(shared)
    await command('FUNCTION', 'FLUSH')
    provider.answer('a1')
    await until(() => provider.came.length === 3)
    await command('FUNCTION', 'FLUSH')
    await end()
    expect(outagesOf(shared)).toEqual([0, 0])
    expect(provider.mostAtOnce).toBe(2)
  })

  it('is told its scripts again, where it has no functions', async () => {
    const server = await serverWith('--rename-command', 'FCALL', '')
    const shared = await open(server.url)
    const { provider, command, end } = shared
    await busy(shared)
    await command('SCRIPT', 'FLUSH')
    provider.answer('a1')
    await until(() => provider.came.length === 3)
    await command('SCRIPT', 'FLUSH')
    await end()
    expect(outagesOf(shared)).toEqual([0, 0])
    expect(provider.mostAtOnce).toBe(2)
  })
})

describe('a Redis that is slow', () => {
  it('is waited for while that is a matter of a moment', async () => {
    const server = await serverWith('--enable-debug-command', 'yes')
    const shared = await open(server.url)
    const { gates, provider, send, command, end } = shared
    await busy(shared)
    const asleep = command('DEBUG', 'SLEEP', '0.4')
    provider.answer('a1', 'b1')
    send(gates[0], 'a4')
    send(gates[1], 'b4')
    await asleep
    await end()
    expect(outagesOf(shared)).toEqual([0, 0])
    expect(provider.mostAtOnce).toBe(2)
  })

  it('is done without until it answers again', async () => {
    const server = await serverWith()
    const shared = await open(server.url)
    const { gates, provider, send, shows, returned, end } = shared
    const [one, other] = gates
    await busy(shared)
    server.pause()
    provider.answer('a1', 'b1')
    // Each goes on with its share: one slot.
    await until(() => provider.came.length === 4)
    expect(outagesOf(shared)).toEqual([1, 1])
    expect(provider.came.slice(2).sort()).toEqual(['a2', 'b2'])
    send(one, 'a4')
    server.resume()
    await returned()
    await shows(other, { inFlight: 2, queued: 3 })
    await end()
    expect(provider.mostAtOnce).toBe(2)
  })
})

describe('a Redis that takes no writes', () => {
  it('is done without until it takes them again', async () => {
    const server = await serverWith()
    const shared = await open(server.url)
    const { gates, provider, shows, returned, command, end } = shared
    await busy(shared)
    await command('CONFIG', 'SET', 'maxmemory', '1')
    provider.answer('a1', 'b1')
    await until(() => provider.came.length === 4)
    for (const gate of gates)
      expect(gate.of('store_degraded')).toMatchObject([
        { why: expect.stringContaining('has no memory left (maxmemory)') },
      ])
    await command('CONFIG', 'SET', 'maxmemory', '0')
    await returned()
    await shows(gates[0], { inFlight: 2, queued: 2 })
    await end()
    expect(provider.mostAtOnce).toBe(2)
  })
})

describe('one gateway’s way to the Redis', () => {
  it('breaks again and again with answers lost: nobody is sent twice or forgotten', async () => {
    const server = await serverWith()
    await using proxy = await startLossyProxy(server.port)
    const shared = await open([server.url, `redis://127.0.0.1:${proxy.port}`])
    const { gates, provider, send, shows, end } = shared
    const [one, other] = gates
    await busy(shared)
    for (const round of [1, 2, 3]) {
      proxy.loseAnswers()
      send(other, `lost ${round}`)
      await until(() => other.of('store_degraded').length === round)
      proxy.mend()
      await until(() => other.of('store_returned').length === round)
      await shows(one, { inFlight: 2, queued: 4 + round })
    }
    await end()
    expect(outagesOf(shared)).toEqual([0, 3])
    expect(provider.mostAtOnce).toBe(2)
  })

  it('falls silent: it goes on alone, and is back when that is mended', async () => {
    const server = await serverWith()
    await using proxy = await startLossyProxy(server.port)
    const shared = await open([server.url, `redis://127.0.0.1:${proxy.port}`])
    const { gates, provider, shows, end } = shared
    const [one, other] = gates
    await busy(shared)
    proxy.freeze()
    provider.answer('b1')
    await until(() => provider.came.includes('b2'))
    expect(outagesOf(shared)).toEqual([0, 1])
    proxy.mend()
    await until(() => other.of('store_returned').length === 1)
    await shows(one, { inFlight: 2, queued: 3 })
    await end()
    expect(provider.mostAtOnce).toBe(2)
  })
})

describe('a gate whose keys were spoilt', () => {
  const spoil = {
    'state is junk': (key: string) => [['SET', `${key}:state`, 'junk']],
    'state is another type': (key: string) => [
      ['DEL', `${key}:state`],
      ['LPUSH', `${key}:state`, 'junk'],
    ],
    'state was thrown away': (key: string) => [['DEL', `${key}:state`]],
    'records were thrown away': (key: string) => [['DEL', `${key}:records`]],
    'index was thrown away': (key: string) => [['DEL', `${key}:index`]],
  }

  it.each(Object.entries(spoil))(
    'begins anew with what all have, when its %s',
    async (_, commands) => {
      const server = await serverWith()
      const shared = await open(server.url)
      const { provider, command, end } = shared
      await busy(shared)
      const keys = await command('KEYS', '*:state')
      const [state] = Array.isArray(keys) ? keys.map(String) : []
      expect(state).toBeDefined()
      for (const [name = '', ...args] of commands((state ?? '').replace(/:state$/, '')))
        await command(name, ...args)
      provider.answer('a1')
      provider.answer('b1')
      await end('is broken and begins anew')
    },
  )
})
