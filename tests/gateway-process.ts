// A gateway as a process of its own, started from its sources. Owns: starting it and its end. Must not
// know: what it is used for.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'

const MAIN = pathToFileURL(path.join(import.meta.dirname, '../src/cli/main.ts'))
const PROGRAM = `
import { main } from '${MAIN}'
process.exitCode = await main(process.argv.slice(1))
`

export interface GatewayProcess {
  readonly url: string
  /** The lines of its log so far. */
  readonly log: readonly Readonly<Record<string, unknown>>[]
  /** Resolves with its exit code when it has ended; it is given a second signal by nobody. */
  terminate(): Promise<number | null>
  kill(): Promise<void>
}

/** @param flags of `headgate serve`. */
export async function startGateway(...flags: readonly string[]): Promise<GatewayProcess> {
  const child: ChildProcessByStdio<null, Readable, null> = spawn(
    process.execPath,
    ['--input-type=module', '-e', PROGRAM, '--', 'serve', '--port', '0', ...flags],
    // Money is kept where a test says so, never in the user's own folder.
    { env: { HEADGATE_LEDGER: 'off' }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const exit = once(child, 'exit')
  const log: Record<string, unknown>[] = []
  const listening = Promise.withResolvers<string>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event: Record<string, unknown> = JSON.parse(line)
    log.push(event)
    if (event.event === 'gate.listening') listening.resolve(String(event.url))
  })
  exit.then(
    () => listening.reject(new Error('the gateway has ended at its start')),
    listening.reject,
  )
  return {
    url: await listening.promise,
    log,
    async terminate() {
      child.kill('SIGTERM')
      await exit
      return child.exitCode
    },
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}
