// Waiting for what another program does in its own time. Must not know: which one.
import { setTimeout as pause } from 'node:timers/promises'

const LIMIT_MS = 20_000

/** Throws, naming `what`, when it does not come true. */
export async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`waited ${LIMIT_MS} ms, but not so: ${what}`)
    await pause(20)
  }
}
