// What a server tells of its work. Must not know: whose work it is.
import { cpuTimeUs } from '../http/process-figures.ts'
import type { RespClient } from './resp-client.ts'

/** Of one command since the last reset; what runs inside a script counts for itself too. */
export interface CommandFigures {
  readonly calls: number
  readonly us: number
}

export interface Work {
  readonly seconds: number
  /** Of the server's process: commands, the protocol and the network. */
  readonly cpuUs: number
  readonly commands: ReadonlyMap<string, CommandFigures>
}

const SCRIPTS = ['fcall', 'evalsha', 'eval']

/** What the server does while something runs. */
export async function workDuring(
  server: { readonly pid: number },
  client: RespClient,
  run: () => Promise<void>,
): Promise<Work> {
  await client.call('CONFIG', 'RESETSTAT')
  const cpuBefore = cpuTimeUs(server.pid)
  const startedAt = performance.now()
  await run()
  const seconds = (performance.now() - startedAt) / 1000
  const cpuUs = cpuTimeUs(server.pid) - cpuBefore
  return { seconds, cpuUs, commands: await commandFigures(client) }
}

/** The time of all scripts, and what of it was spent in the commands inside them. */
export function scriptFigures({ commands }: Work): CommandFigures & { readonly insideUs: number } {
  let [calls, us, insideUs] = [0, 0, 0]
  for (const [name, figures] of commands) {
    if (SCRIPTS.includes(name)) {
      calls += figures.calls
      us += figures.us
    } else insideUs += figures.us
  }
  return { calls, us, insideUs }
}

async function commandFigures(client: RespClient): Promise<Map<string, CommandFigures>> {
  const info = String(await client.call('INFO', 'commandstats'))
  const found = new Map<string, CommandFigures>()
  for (const [, name = '', calls, us] of info.matchAll(/cmdstat_(\S+):calls=(\d+),usec=(\d+)/g)) {
    if (!/^(config|info)\b/.test(name)) found.set(name, { calls: Number(calls), us: Number(us) })
  }
  return found
}

export async function usedMemory(client: RespClient): Promise<number> {
  const info = String(await client.call('INFO', 'memory'))
  return Number(/^used_memory:(\d+)/m.exec(info)?.[1])
}
