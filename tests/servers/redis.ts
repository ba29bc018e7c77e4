// Real Redis servers for tests. Owns: one server, its troubles, and the one that a file's tests share.
// Must not know: what is kept in it.
import { randomBytes } from 'node:crypto'
import { type ChildServer, HOST, startServer } from './child-server.ts'

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Of the process that runs now: another one after `restart`. */
  readonly pid: number
  stop(): Promise<void>
  /** Ends the process and resolves when it is gone; `restart` brings it back. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Comes back empty, on the same port. */
  restart(): Promise<void>
  /** Connections stay, and nothing is answered. */
  pause(): void
  resume(): void
}

export interface RedisServerOptions {
  readonly args?: readonly string[]
  /** @default a free one */
  readonly port?: number
}

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  let server: ChildServer = await startServer(options)
  const { port } = server
  return {
    port,
    url: `redis://${HOST}:${port}`,
    get pid() {
      return server.pid
    },
    stop: () => server.end('SIGKILL'),
    kill: (signal = 'SIGKILL') => server.end(signal),
    async restart() {
      await server.end('SIGKILL')
      server = await startServer({ ...options, port })
    },
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
  }
}

let shared: Promise<{ readonly url: string }> | null = null

/**
 * The server of all tests of a file that only need one: of HEADGATE_TEST_REDIS where that is set, else
 * started at the first call. Never flushed: tests keep apart by `freshPrefix`.
 */
export function sharedRedis(): Promise<{ readonly url: string }> {
  const { HEADGATE_TEST_REDIS: url } = process.env
  shared ??= url ? Promise.resolve({ url }) : startRedis()
  return shared
}

/** Fit for an address' `?prefix=`. */
export function freshPrefix(): string {
  return `test-${randomBytes(6).toString('hex')}`
}
