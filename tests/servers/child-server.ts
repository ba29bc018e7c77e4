// One redis-server as a child of the test process. Owns: its port, its folder, and that it never outlives
// the test, however that ends. Must not know: what the server is for.
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Redis } from 'ioredis'

export const HOST = '127.0.0.1'

/**
 * Below those that systems give to outgoing connections: a client that tries again and again to reach
 * such a port can end up connected to itself, and the server that is to come back finds it taken.
 */
const PORTS = { first: 12_000, last: 21_999 }

/** A cluster's node talks to the others so far above its own port. */
const BUS_OFFSET = 10_000

/** Another test may take a port between the look at it and the server's start. */
const TRIES = 5

/**
 * The shell becomes the server. Before, it leaves a watcher at the other end of its standard input: when
 * that closes, because the test has ended in whatever way, the watcher ends the server, frozen or not.
 */
const LAUNCH = `
folder=$1; shift
exec 3<&0 </dev/null
( read -r _ <&3 || kill -9 $$; rm -rf "$folder" ) &
exec redis-server "$@" 3<&-
`

export interface ChildServer {
  readonly pid: number
  readonly port: number
  /** Does not wait for what comes of it. */
  signal(signal: NodeJS.Signals): void
  /** Resolves when the process is gone; it may be gone already. */
  end(signal: NodeJS.Signals): Promise<void>
}

export interface ChildServerOptions {
  /** @default a free one, whose bus port is free too */
  readonly port?: number
  readonly args?: readonly string[]
  /** What a sentinel watches: lines of its configuration, which it rewrites itself. Null: no sentinel. */
  readonly sentinel?: string | null
}

/** Resolves when the server answers. */
export async function startServer(options: ChildServerOptions = {}): Promise<ChildServer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(options.port ?? (await freePort()), options)
    } catch (error) {
      if (options.port !== undefined || attempt === TRIES) throw error
    }
  }
}

async function launch(port: number, options: ChildServerOptions): Promise<ChildServer> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-redis-'))
  const args = await commandLine(port, folder, options)
  const child = spawn('sh', ['-c', LAUNCH, 'sh', folder, ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const { pid = 0 } = child
  const exit = once(child, 'exit')
  child.stdin.on('error', () => {})
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    await exit
  }
  const hasStarted = await answers(port, pid, exit)
  const log = hasStarted ? '' : await logIn(folder)
  // A watcher that is told so has nothing to end: the number may be another process's by now.
  void exit.then(() => child.stdin.end('gone\n'))
  if (!hasStarted) {
    await end('SIGKILL')
    throw new Error(`redis-server has not started on port ${port}:\n${log}`)
  }
  return { pid, port, end, signal: (signal) => void child.kill(signal) }
}

async function commandLine(
  port: number,
  folder: string,
  { args = [], sentinel = null }: ChildServerOptions,
): Promise<string[]> {
  const place = ['--port', `${port}`, '--bind', HOST, '--dir', folder, '--logfile', logFile(folder)]
  if (sentinel === null) return [...place, '--save', '', '--appendonly', 'no', ...args]
  const file = path.join(folder, 'sentinel.conf')
  await writeFile(file, sentinel)
  return [file, '--sentinel', ...place, ...args]
}

function logFile(folder: string): string {
  return path.join(folder, 'redis.log')
}

async function logIn(folder: string): Promise<string> {
  return await readFile(logFile(folder), 'utf8').catch(() => 'it has written no log')
}

/** False when it ends instead, or when it is another server that answers on that port. */
async function answers(port: number, pid: number, exit: Promise<unknown>): Promise<boolean> {
  const client = new Redis(port, HOST, { retryStrategy: () => 5, maxRetriesPerRequest: null })
  client.on('error', () => {})
  const answer = client.info('server').then((info) => info.includes(`process_id:${pid}\r`))
  // Left unanswered for good when the process has ended.
  answer.catch(() => {})
  return await Promise.race([answer, exit.then(() => false)]).finally(() => client.disconnect())
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.first, PORTS.last + 1)
    if ((await isFree(port)) && (await isFree(port + BUS_OFFSET))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, HOST, () => server.close(() => resolve(true)))
  })
}
