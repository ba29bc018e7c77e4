// The connection against real servers and their troubles.
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { StoreUnreachable } from '../../src/core/store.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { connect, type RedisConnection } from '../../src/stores/redis/connection.ts'
import { Program } from '../../src/stores/redis/program.ts'
import type { Script } from '../../src/stores/redis/script.ts'
import { StoreSetupError } from '../../src/stores/redis/server-check.ts'
import { failureOf, until } from '../harness.ts'
import { freshPrefix, type RedisServer, sharedRedis, startRedis } from '../servers/redis.ts'
import { startCluster } from '../servers/redis-cluster.ts'
import { startReplicated } from '../servers/redis-replicated.ts'
import { startLossyProxy } from './lossy-proxy.ts'

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

function addressOf(url: string): RedisAddress {
  const read = parseStoreAddress(url)
  if (read.kind === 'refused' || read.value.kind === 'memory') throw new Error(`${url} is no Redis`)
  return read.value
}

async function serverWith(...args: string[]): Promise<RedisServer> {
  const server = await startRedis({ args })
  cleanUps.push(() => server.stop())
  return server
}

async function open(url: string, errors: Error[] = []): Promise<RedisConnection> {
  const connection = await connect(addressOf(url), { onError: (error) => errors.push(error) })
  cleanUps.push(() => connection.close())
  return connection
}

interface Operation {
  readonly program: Program
  readonly script: Script<never>
}

/** An operation that is a program of its own. */
function operationOf(body: string): Operation {
  const script = { name: 'run', keys: ['n'], libs: '', body: `${body}\n`, args: () => [] }
  return { program: new Program({ run: script }), script }
}

const COUNT = operationOf("return tostring(redis.call('INCR', KEYS[1]))")

const run = (connection: RedisConnection, { program, script }: Operation, key: string) =>
  connection.run(program, script, [key], [])

const atPort = (port: number): string => `redis://127.0.0.1:${port}`

/** What `onReach` has told so far. */
function reachOf(connection: RedisConnection): boolean[] {
  const told: boolean[] = []
  connection.onReach((isReachable) => told.push(isReachable))
  return told
}

/** A port that nothing listens on. */
async function deadPort(): Promise<number> {
  const server = await startRedis()
  await server.stop()
  return server.port
}

describe('a connection', () => {
  it('runs scripts that the server does not know yet, and plain commands', async () => {
    const { url } = await sharedRedis()
    const connection = await open(url)
    const key = `${freshPrefix()}:n`
    const fresh = operationOf(`-- ${key}\n${COUNT.script.body}`)
    expect(await run(connection, fresh, key)).toBe('1')
    expect(await run(connection, fresh, key)).toBe('2')
    expect(await connection.command('GET', key)).toBe('2')
    expect(await connection.command('DEL', key)).toBe(1)
    expect(connection.warnings).toEqual([])
  })

  it('runs scripts on a server that has no functions', async () => {
    const server = await serverWith('--rename-command', 'FCALL', '')
    const connection = await open(server.url)
    expect(await run(connection, COUNT, 'n')).toBe('1')
    expect(await run(connection, COUNT, 'n')).toBe('2')
  })

  it('passes a script’s own mistakes on as they are', async () => {
    const connection = await open((await sharedRedis()).url)
    for (const lua of ["error('mine')", "return redis.call('NO_SUCH')", 'return nothing.at_all']) {
      const error = await failureOf(run(connection, operationOf(lua), 'k'))
      expect(error).toBeInstanceOf(Error)
      expect(error).not.toBeInstanceOf(StoreUnreachable)
    }
  })

  it('hears the messages of its channels, and goes on hearing them after a restart', async () => {
    const server = await serverWith()
    const connection = await open(server.url)
    const heard: string[] = []
    const channel = freshPrefix()
    await connection.subscribe(channel, (message) => heard.push(message))
    const told = reachOf(connection)
    expect(await connection.command('PUBLISH', channel, 'one')).toBe(1)
    await until(() => heard.length === 1)
    await server.restart()
    await until(() => told.at(-1) === true)
    expect(told).toEqual([false, true])
    expect(await connection.command('PUBLISH', channel, 'two')).toBe(1)
    await until(() => heard.length === 2)
    expect(heard).toEqual(['one', 'two'])
  })

  it('fails at once while the server is away, and never waits for a frozen one', async () => {
    const server = await serverWith()
    const connection = await open(server.url)
    server.pause()
    const before = performance.now()
    expect(await failureOf(connection.command('GET', 'k'))).toMatchObject({
      name: 'StoreUnreachable',
      message: `${server.url} does not answer in time`,
    })
    expect(performance.now() - before).toBeLessThan(1500)
    server.resume()
    await until(async () => (await connection.command('PING').catch(() => '')) === 'PONG')
    await server.kill()
    const error = await failureOf(connection.command('GET', 'k'))
    expect(error).toBeInstanceOf(StoreUnreachable)
    const again = performance.now()
    expect(await failureOf(connection.command('GET', 'k'))).toBeInstanceOf(StoreUnreachable)
    expect(performance.now() - again).toBeLessThan(50)
  })

  it('runs a script once when its answer is lost', async () => {
    const server = await serverWith()
    await using proxy = await startLossyProxy(server.port)
    const connection = await open(atPort(proxy.port))
    const told = reachOf(connection)
    await run(connection, COUNT, 'n')
    proxy.loseAnswers()
    expect(await failureOf(run(connection, COUNT, 'n'))).toBeInstanceOf(StoreUnreachable)
    proxy.mend()
    await until(() => told.at(-1) === true)
    expect(await connection.command('GET', 'n')).toBe('2')
  })

  it('finds out that a peer has gone without a word', async () => {
    const server = await serverWith()
    await using proxy = await startLossyProxy(server.port)
    const connection = await open(atPort(proxy.port))
    const heard: string[] = []
    await connection.subscribe('c', (message) => heard.push(message))
    const told = reachOf(connection)
    proxy.freeze()
    await until(() => told.at(-1) === false)
    proxy.mend()
    await until(() => told.at(-1) === true)
    await connection.command('PUBLISH', 'c', 'here')
    await until(() => heard.length === 1)
  })

  it.each([
    ['maxmemory', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    [
      'min-replicas',
      ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
      ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
    ],
  ])(
    'takes a server that refuses writes (%s) for unreachable',
    async (_, [a = '', ...as], [b = '', ...bs]) => {
      const server = await serverWith()
      const connection = await open(server.url)
      await connection.command(a, ...as)
      expect(await failureOf(run(connection, COUNT, 'n'))).toBeInstanceOf(StoreUnreachable)
      await connection.command(b, ...bs)
      expect(await run(connection, COUNT, 'n')).toBe('1')
    },
  )

  it('tells once that it is lost, and nothing after it is closed', async () => {
    const server = await serverWith()
    const connection = await open(server.url)
    const told = reachOf(connection)
    await server.kill()
    await until(() => told.length > 0)
    await connection.close()
    expect(told).toEqual([false])
    expect(await failureOf(connection.command('PING'))).toBeInstanceOf(StoreUnreachable)
  })
})

describe('at the start', () => {
  it('a server that is away is waited for', async () => {
    const port = await deadPort()
    const connection = await open(atPort(port))
    expect(connection.warnings).toEqual([
      `the store ${atPort(port)} refuses connections: the gate goes on without it until it is back`,
    ])
    const heard: string[] = []
    await connection.subscribe('c', (message) => heard.push(message))
    const told = reachOf(connection)
    await until(() => told.length > 0)
    const server = await startRedis({ port })
    cleanUps.push(() => server.stop())
    await until(() => told.length > 1)
    expect(told).toEqual([false, true])
    expect(await connection.command('PUBLISH', 'c', 'late')).toBe(1)
    await until(() => heard.length === 1)
  })

  const setupErrorOf = async (url: string): Promise<string> => {
    const error = await failureOf(connect(addressOf(url)))
    expect(error).toBeInstanceOf(StoreSetupError)
    return error instanceof Error ? error.message : ''
  }

  it('a missing and a wrong password are told', async () => {
    const { port, url } = await serverWith()
    await (await open(url)).command('CONFIG', 'SET', 'requirepass', 'SECRET')
    expect(await setupErrorOf(atPort(port))).toMatch(/^the store \S+ wants a password: /)
    const wrong = await setupErrorOf(`redis://:hunter2@127.0.0.1:${port}`)
    expect(wrong).toMatch(/^the store redis:\/\/127\S+ refuses the user or the password/)
    expect(wrong).not.toContain('hunter2')
    const connection = await open(`redis://:SECRET@127.0.0.1:${port}`)
    expect(await connection.command('PING')).toBe('PONG')
  })

  it('a database that is not there is told', async () => {
    const { url } = await sharedRedis()
    expect(await setupErrorOf(`${url}/99`)).toMatch(/ has no database of that number: /)
  })

  it('a cluster that is none is told', async () => {
    const { url } = await sharedRedis()
    const error = await setupErrorOf(url.replace('redis:', 'redis+cluster:'))
    expect(error).toMatch(/ is no cluster: begin the address with redis:\/\/$/)
  })

  it('sentinels that are none are told', async () => {
    const { url } = await sharedRedis()
    const error = await setupErrorOf(`${url.replace('redis:', 'redis+sentinel:')}/main`)
    expect(error).toMatch(/ is no sentinel: begin the address with redis:\/\/$/)
  })

  it('a memory that forgets is warned of', async () => {
    const { url } = await serverWith('--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru')
    const { warnings } = await open(url)
    expect(warnings).toEqual([expect.stringMatching(/throws keys away .*\(allkeys-lru\)/)])
  })

  it('a replica is waited for until it is the primary', async () => {
    const { url } = await serverWith('--replicaof', '127.0.0.1', '1')
    const connection = await open(url)
    expect(connection.warnings).toEqual([expect.stringContaining(' is a replica, ')])
    const told = reachOf(connection)
    expect(await failureOf(run(connection, COUNT, 'n'))).toBeInstanceOf(StoreUnreachable)
    await until(
      async () => (await connection.command('REPLICAOF', 'NO', 'ONE').catch(() => '')) === 'OK',
    )
    await until(() => told.at(-1) === true)
    expect(await run(connection, COUNT, 'n')).toBe('1')
  })
})

/** Makes a server the only node of a cluster, which all reach through another port. */
async function giveAllSlots(port: number, announcedPort: number): Promise<void> {
  const client = new Redis(port, '127.0.0.1')
  await client.config('SET', 'cluster-announce-ip', '127.0.0.1')
  await client.config('SET', 'cluster-announce-port', announcedPort)
  await client.cluster('ADDSLOTSRANGE', 0, 16_383)
  await until(async () => (await client.cluster('INFO')).includes('cluster_state:ok'))
  client.disconnect()
}

describe('in a cluster', () => {
  it('scripts go to the node of their keys, and messages come from any', async () => {
    const cluster = await startCluster()
    cleanUps.push(() => cluster.stop())
    expect(await failureOf(connect(addressOf(cluster.urls[0] ?? '')))).toMatchObject({
      name: 'StoreSetupError',
      message: expect.stringContaining('begin the address with redis+cluster://'),
    })
    const connection = await open(cluster.url)
    const heard: string[] = []
    await connection.subscribe('c', (message) => heard.push(message))
    const keys = Array.from({ length: 30 }, (_, index) => `{${index}}:n`)
    const script = operationOf(`redis.call('PUBLISH', 'c', KEYS[1]) ${COUNT.script.body}`)
    expect(await Promise.all(keys.map((key) => run(connection, script, key)))).toEqual(
      keys.map(() => '1'),
    )
    await until(() => heard.length === keys.length)
    expect(new Set(heard)).toEqual(new Set(keys))
    const told = reachOf(connection)
    await cluster.stop()
    await until(() => told.at(-1) === false)
    expect(await failureOf(run(connection, script, '{1}:n'))).toBeInstanceOf(StoreUnreachable)
  })

  it('a script whose answer is lost runs once', async () => {
    const target = await serverWith('--cluster-enabled', 'yes')
    await using proxy = await startLossyProxy(target.port)
    await giveAllSlots(target.port, proxy.port)
    const connection = await open(`redis+cluster://127.0.0.1:${proxy.port}`)
    const told = reachOf(connection)
    await run(connection, COUNT, '{n}')
    proxy.loseAnswers()
    expect(await failureOf(run(connection, COUNT, '{n}'))).toBeInstanceOf(StoreUnreachable)
    proxy.mend()
    await until(async () => (await connection.command('GET', '{n}').catch(() => '')) === '2')
    expect(told.at(-1) ?? true).toBe(true)
  })
})

describe('with sentinels', () => {
  it('the new primary is found after a failover', async () => {
    const replicated = await startReplicated()
    cleanUps.push(() => replicated.stop())
    const wrongName = replicated.sentinelUrl.replace(/\w+$/, 'another')
    expect(await failureOf(connect(addressOf(wrongName)))).toMatchObject({
      message: expect.stringContaining('know no primary of that name'),
    })
    const asServer = replicated.sentinelUrl.replace('+sentinel', '').replace(/\/\w+$/, '')
    expect(await failureOf(connect(addressOf(asServer)))).toMatchObject({
      message: expect.stringContaining('is a sentinel'),
    })
    const connection = await open(replicated.sentinelUrl)
    const heard: string[] = []
    await connection.subscribe('c', (message) => heard.push(message))
    const told = reachOf(connection)
    expect(await run(connection, COUNT, 'n')).toBe('1')
    await replicated.primary.kill()
    await until(() => told.at(-1) === true, 20_000)
    await until(async () => (await run(connection, COUNT, 'm').catch(() => '')) === '1')
    expect(await connection.command('PUBLISH', 'c', 'new')).toBe(1)
    await until(() => heard.length === 1)
  })
})
