// Real Postgres servers for tests. Owns: one server, its troubles, and the one that a file's tests share.
// Must not know: what is kept in it.
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { Client } from 'pg'
import { createServer, HOST, SUPERUSER, startServer } from './postgres-process.ts'

export interface PostgresServer {
  readonly port: number
  /** A new, empty database's address. */
  freshDatabase(): Promise<string>
  stop(): Promise<void>
  /** Ends it, as a power failure would, and resolves when it is gone; `restart` brings it back. */
  kill(): Promise<void>
  /** Comes back with all that had been committed, on the same port. */
  restart(): Promise<void>
  /** Connections stay, and nothing is answered. */
  pause(): Promise<void>
  resume(): Promise<void>
}

export async function startPostgres(): Promise<PostgresServer> {
  const [place, first] = await createServer()
  let server = first
  const addressOf = (database: string) =>
    `postgres://${SUPERUSER}@${HOST}:${place.port}/${database}`
  return {
    port: place.port,
    async freshDatabase() {
      const name = `test_${randomBytes(6).toString('hex')}`
      await run(addressOf('postgres'), `create database ${name}`)
      return addressOf(name)
    },
    async stop() {
      await server.end('SIGKILL')
      await rm(place.folder, { recursive: true, force: true })
    },
    kill: () => server.end('SIGKILL'),
    async restart() {
      await server.end('SIGKILL')
      server = await startServer(place)
    },
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
  }
}

let shared: Promise<string> | null = null

/**
 * An address with a schema of its own, in a database that a file's tests share: much faster than a
 * database for each. Its server is started at the first call.
 */
export async function freshSchema(): Promise<string> {
  shared ??= startPostgres().then((server) => server.freshDatabase())
  return `${await shared}?schema=test_${randomBytes(6).toString('hex')}`
}

/** The rows that a statement answers, which names schemas itself. */
export async function run(
  url: string,
  statement: string,
  values: readonly unknown[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const client = new Client({ connectionString: url.replace(/\?.*/, '') })
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(statement, [...values])
    return rows
  } finally {
    await client.end()
  }
}
