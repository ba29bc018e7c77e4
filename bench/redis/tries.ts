// How often processes that compete for one resource ask the server, for each turn that they get. Must not
// know: how they ask.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Account } from './competitor.ts'

export interface Tries {
  readonly processes: number
  readonly grants: number
  /** What was sent in all, by its name. */
  readonly sent: Readonly<Record<string, number>>
}

const PROCESSES = 8

export async function measureTries(
  url: string,
  kind: 'headgate' | 'limiter',
  ms: number,
): Promise<Tries> {
  const accounts = await Promise.all(
    Array.from({ length: PROCESSES }, () => competitor(url, kind, ms)),
  )
  const sent: Record<string, number> = {}
  for (const { tries } of accounts)
    for (const [name, count] of Object.entries(tries)) sent[name] = (sent[name] ?? 0) + count
  const grants = accounts.reduce((sum, account) => sum + account.grants, 0)
  return { processes: PROCESSES, grants, sent }
}

async function competitor(url: string, kind: string, ms: number): Promise<Account> {
  const child = fork(join(import.meta.dirname, 'competitor.ts'), [url, kind, `${ms}`])
  const [account]: Account[] = await once(child, 'message')
  if (!account) throw new Error('a competitor ended without a word')
  return account
}
