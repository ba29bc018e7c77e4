// Many callers that have sent their request and wait: what each costs the proxy in memory.
// Must not know: why they wait.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { residentBytes } from './process-figures.ts'

export interface HeldFigures {
  readonly callers: number
  /** Callers that were answered or hung up on instead of being held. */
  readonly turnedAway: number
  readonly bytesPerCaller: number
  /** About how many connections the proxy has upstream for them: its open files but the callers'. */
  readonly upstreamConnections: number
}

const CONNECTING_AT_ONCE = 100

export async function holdCallers(
  proxy: { readonly url: URL; readonly pid: number },
  request: Buffer,
  callers: number,
): Promise<HeldFigures> {
  const before = residentBytes(proxy.pid)
  const filesBefore = openFiles(proxy.pid)
  const sockets: Socket[] = []
  let turnedAway = 0
  while (sockets.length < callers) {
    const batch = Array.from(
      { length: Math.min(CONNECTING_AT_ONCE, callers - sockets.length) },
      () => connect(Number(proxy.url.port), proxy.url.hostname),
    )
    for (const socket of batch)
      socket.once('data', () => turnedAway++).on('error', () => turnedAway++)
    await Promise.all(batch.map((socket) => once(socket, 'connect')))
    for (const socket of batch) socket.write(request)
    sockets.push(...batch)
  }
  const held = await settledResidentBytes(proxy.pid)
  const upstreamConnections = openFiles(proxy.pid) - filesBefore - callers
  for (const socket of sockets) socket.destroy()
  return { callers, turnedAway, bytesPerCaller: (held - before) / callers, upstreamConnections }
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** The memory of a process once it has been steady for a second, within 1 %. */
async function settledResidentBytes(pid: number): Promise<number> {
  let last = residentBytes(pid)
  for (let second = 0; second < 10; second++) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const now = residentBytes(pid)
    if (Math.abs(now - last) < last / 100) return now
    last = now
  }
  return last
}

/** How many callers fit into this machine's file descriptors when each takes `perCaller`. */
export function callersThatFit(wanted: number, perCaller: number): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const hard = Number(/^Max open files +\d+ +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
  return Math.min(wanted, Math.floor((hard - 500) / perCaller))
}
