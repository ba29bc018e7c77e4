// One Postgres as a child of the test process. Owns: its folder, its port, and that it never outlives the
// test, however that ends. Must not know: what is kept in it.
import { spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'
import { until } from './until.ts'

export const HOST = '127.0.0.1'
export const SUPERUSER = 'headgate'
/** The one role that is asked for its password; a test that needs it creates it. */
export const GUARDED_ROLE = 'guarded'

/** Beside those of the Redis servers, and below those that systems give to outgoing connections. */
const PORTS = { first: 22_000, last: 27_999 }
/** Another test may have taken the port. */
const TRIES = 5

/** Where Debian keeps a version's programs; they are not on the path there. */
const DEBIAN = '/usr/lib/postgresql'

/**
 * The shell becomes the server. Before, it leaves a watcher at the other end of a pipe, as nobody's child:
 * when that closes, because the test has ended in whatever way, the watcher ends the server with its
 * children, frozen or not. Not its standard input, which Node closes when the server ends.
 */
const LAUNCH = `
folder=$1; shift
watch() {
  read -r _ <&3 && return
  kill -9 $$ $(cat /proc/$$/task/$$/children)
  rm -rf "$folder"
}
( watch & )
exec "$@" 3<&- >"$folder/log" 2>&1
`

const ACCESS = `
host all ${GUARDED_ROLE} all scram-sha-256
host all all all trust
`

export interface PostgresProcess {
  /** To itself and to all that it has started for its clients. */
  signal(signal: NodeJS.Signals): Promise<void>
  /** Resolves when it is gone; its folder stays. */
  end(signal: NodeJS.Signals): Promise<void>
}

export interface PostgresPlace {
  readonly folder: string
  readonly port: number
}

/** Whether Postgres can be started here. */
export function hasPrograms(): boolean {
  return spawnSync(path.join(programFolder(), 'initdb'), ['--version']).status === 0
}

/** The folder with Postgres' programs, of the newest version; empty where they are on the path. */
function programFolder(): string {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map(Number).filter(Boolean) : []
  return versions.length === 0 ? '' : path.join(DEBIAN, `${Math.max(...versions)}`, 'bin')
}

/** Makes an empty one and starts it. */
export async function createServer(): Promise<[PostgresPlace, PostgresProcess]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-postgres-'))
  const owner = postgresUser()
  if (owner) await chown(folder, owner.uid, owner.gid)
  await initialise(folder)
  for (let attempt = 1; ; attempt++) {
    const place = { folder, port: randomInt(PORTS.first, PORTS.last + 1) }
    try {
      return [place, await startServer(place)]
    } catch (error) {
      if (attempt === TRIES) throw error
    }
  }
}

/** Postgres refuses to run as root: the command is then that of the user whom Debian's package makes. */
function asPostgres(program: string, args: readonly string[]): string[] {
  const command = [path.join(programFolder(), program), ...args]
  const owner = postgresUser()
  if (!owner) return command
  return ['setpriv', `--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups', ...command]
}

/** Null when the tests don't run as root, and Postgres may run as they do. */
function postgresUser(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const idOf = (flag: string) => Number(spawnSync('id', [flag, 'postgres']).stdout.toString())
  return { uid: idOf('-u'), gid: idOf('-g') }
}

async function initialise(folder: string): Promise<void> {
  const [program = '', ...args] = asPostgres('initdb', [
    ...['--pgdata', dataFolder(folder), '--username', SUPERUSER, '--auth', 'trust'],
    ...['--encoding', 'UTF8', '--no-locale', '--no-sync'],
  ])
  const { status, stderr } = spawnSync(program, args, { cwd: folder })
  if (status !== 0) throw new Error(`initdb has failed:\n${stderr}`)
  await writeFile(path.join(dataFolder(folder), 'pg_hba.conf'), ACCESS)
}

/** Resolves when it takes connections, after whatever it had to recover. */
export async function startServer({ folder, port }: PostgresPlace): Promise<PostgresProcess> {
  const args = ['-D', dataFolder(folder), '-p', `${port}`, '-c', `listen_addresses=${HOST}`]
  const command = asPostgres('postgres', [...args, '-k', folder])
  const child = spawn('sh', ['-c', LAUNCH, 'sh', folder, ...command], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const {
    pid = 0,
    stdio: [, , , watcher],
  } = child
  if (!(watcher instanceof Writable)) throw new Error('there is a pipe to the watcher')
  watcher.on('error', () => {})
  const exit = once(child, 'exit')
  let isGone = false
  void exit.then(() => {
    isGone = true
    // A watcher that is told so has nothing to end: the number may be another process's by now.
    watcher.end('gone\n')
  })
  await until('Postgres has started', async () => isGone || (await isReady(folder, pid)))
  if (isGone) throw new Error(`Postgres has not started on port ${port}:\n${await logIn(folder)}`)
  return {
    signal: (signal) => signalAll(pid, signal),
    async end(signal) {
      if (!isGone) await signalAll(pid, signal)
      await exit
    },
  }
}

const dataFolder = (folder: string): string => path.join(folder, 'data')

/** It says so in the eighth line of its lock file. */
async function isReady(folder: string, pid: number): Promise<boolean> {
  const file = path.join(dataFolder(folder), 'postmaster.pid')
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n')
  return lines[0] === `${pid}` && lines[7]?.trim() === 'ready'
}

async function logIn(folder: string): Promise<string> {
  return await readFile(path.join(folder, 'log'), 'utf8').catch(() => 'it has written no log')
}

/** First the one that would start others. A child may be gone before it is told. */
async function signalAll(pid: number, signal: NodeJS.Signals): Promise<void> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  for (const each of [pid, ...children.split(' ').filter(Boolean).map(Number)]) {
    try {
      process.kill(each, signal)
    } catch {}
  }
}
