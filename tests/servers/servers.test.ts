// The servers that other tests rely on.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import path from 'node:path'
import { Cluster, Redis } from 'ioredis'
import { afterEach, expect, it } from 'vitest'
import { HOST } from './child-server.ts'
import { freshPrefix, startRedis } from './redis.ts'
import { startCluster } from './redis-cluster.ts'
import { startReplicated } from './redis-replicated.ts'
import { until } from './until.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** Of a server or of several, with the stop after the test. */
async function started<Server extends { stop(): Promise<void> }>(
  starting: Promise<Server>,
): Promise<Server> {
  const server = await starting
  cleanUps.push(() => server.stop())
  return server
}

function clientOf(port: number): Redis {
  const client = new Redis(port, HOST, { commandTimeout: 200, retryStrategy: () => 20 })
  client.on('error', () => {})
  cleanUps.push(() => client.disconnect())
  return client
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST)
    socket.once('connect', () => socket.end(() => resolve(true)))
    socket.once('error', () => resolve(false))
  })
}

it('a server comes back empty on its port', async () => {
  const server = await started(startRedis())
  await clientOf(server.port).set('a', '1')
  const { pid } = server
  await server.restart()
  expect(server.pid).not.toBe(pid)
  expect(await clientOf(server.port).get('a')).toBeNull()
})

it('a killed server is gone until it is started again', async () => {
  const server = await started(startRedis())
  await server.kill('SIGTERM')
  expect(await isListening(server.port)).toBe(false)
  await server.restart()
  expect(await clientOf(server.port).ping()).toBe('PONG')
})

it('a paused server answers nothing until it is resumed', async () => {
  const server = await started(startRedis())
  const client = clientOf(server.port)
  await client.set('a', '1')
  server.pause()
  await expect(client.get('a')).rejects.toThrow('Command timed out')
  server.resume()
  expect(await client.get('a')).toBe('1')
})

it('a port that is taken is said', async () => {
  const server = await started(startRedis())
  await expect(startRedis({ port: server.port })).rejects.toThrow(`on port ${server.port}`)
  expect(await clientOf(server.port).ping()).toBe('PONG')
})

it('a server ends with a test that is killed, even while it is paused', async () => {
  const code = `
    import { startRedis } from '${path.join(import.meta.dirname, 'redis.ts')}'
    const server = await startRedis()
    server.pause()
    process.stdout.write(String(server.port))
  `
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [chunk] = await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await until('the server ends', async () => !(await isListening(Number(chunk))))
})

it('the sentinel puts the replica in the place of a killed primary', async () => {
  const { primary, replica, primaryPort } = await started(startReplicated())
  expect(await primaryPort()).toBe(primary.port)
  const client = clientOf(primary.port)
  await client.set('a', '1')
  expect(await client.wait(1, 100)).toBe(1)
  await primary.kill()
  await until('the replica is the primary', async () => (await primaryPort()) === replica.port)
  expect(await clientOf(replica.port).get('a')).toBe('1')
})

it('a cluster keeps keys on three nodes', async () => {
  const { ports } = await started(startCluster())
  const cluster = new Cluster(ports.map((port) => ({ port, host: HOST })))
  cleanUps.push(() => cluster.disconnect())
  const prefix = freshPrefix()
  // Of the slots 15495, 3300 and 7365.
  for (const tag of ['a', 'b', 'c']) await cluster.set(`${prefix}{${tag}}`, tag)
  const sizes = await Promise.all(cluster.nodes('master').map((node) => node.dbsize()))
  expect(sizes).toEqual([1, 1, 1])
})
