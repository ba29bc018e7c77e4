// What the operating system knows of another process (Linux). Must not know: what the process does.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** User and system time of all live threads, in microseconds. */
export function cpuTimeUs(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(
      readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0],
    )
  }
  return nanoseconds / 1000
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1] ?? 0) * 1024
}

/** Keeps every thread of a process on one core. Returns false where that is not possible. */
export function pinTo(core: number, pid: number): boolean {
  return spawnSync('taskset', ['-apc', `${core}`, `${pid}`]).status === 0
}
