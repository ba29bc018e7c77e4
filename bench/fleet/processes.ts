// The processes of a run: the emulator, headgate's commands, and programs of others. Owns: starting and
// ending them on one time. Must not know: what is measured.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import type { EmulatorReport } from '../../src/emulator/emulator.ts'
import { type Scale, scaleToEnv } from './scaled-clock.ts'

/** A minute of the provider has so much of each. */
export interface Limits {
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
}

export interface Started {
  readonly child: ChildProcessByStdio<null, Readable, null>
  readonly pid: number
  readonly lines: Interface
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>
}

/** A program of this folder. @param preload runs before it */
export function start(
  scale: Scale,
  program: string,
  args: readonly string[],
  { preload }: { readonly preload?: string } = {},
): Started {
  const file = (name: string): string => join(import.meta.dirname, name)
  const imports = preload === undefined ? [] : ['--import', pathToFileURL(file(preload)).href]
  const child = spawn(process.execPath, [...imports, file(program), ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: tmpdir(),
      HEADGATE_LEDGER: 'off',
      ANTHROPIC_API_KEY: 'sk-ant-bench',
      ...scaleToEnv(scale),
    },
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  // Everything that it has said is read by then.
  const ended = once(child, 'close').then(() => {
    process.off('exit', kill)
    return child.exitCode
  })
  const lines = createInterface({ input: child.stdout })
  return {
    child,
    pid: child.pid ?? 0,
    lines,
    ended,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

export interface Emulation extends Started {
  readonly url: string
  report(): Promise<EmulatorReport>
}

export async function startEmulator(
  scale: Scale,
  limits: Limits,
  flags: readonly string[] = [],
): Promise<Emulation> {
  const amounts = ['--rpm', limits.requests, '--itpm', limits.inputTokens]
  const args = [...amounts, '--otpm', limits.outputTokens, '--port', 0, '--seed', 1].map(String)
  const started = start(scale, 'headgate.ts', ['emulate', ...args, ...flags])
  const url = await addressIn(started, /(http:\/\/127\.0\.0\.1:\d+)/)
  return {
    ...started,
    url,
    report: async () => {
      const report: EmulatorReport = JSON.parse(
        await (await fetch(`${url}/emulator/report`)).text(),
      )
      return report
    },
  }
}

export async function startGateway(
  scale: Scale,
  upstream: string,
): Promise<Started & { readonly url: string }> {
  const flags = ['--port', '0', '--upstream', `anthropic=${upstream}`, '--log-format', 'json']
  const started = start(scale, 'headgate.ts', ['serve', ...flags])
  const url = await addressIn(started, /"gate\.listening".*?(http:\/\/127\.0\.0\.1:\d+)/)
  return { ...started, url }
}

function addressIn({ lines, ended }: Started, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const read = (line: string): void => {
      const address = pattern.exec(line)?.[1]
      if (address === undefined) return
      lines.off('line', read)
      resolve(address)
    }
    lines.on('line', read)
    ended.then((code) => reject(new Error(`it ended with ${code}, and named no address`)), reject)
  })
}
