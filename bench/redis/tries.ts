// How often processes that compete for one resource ask the server, for each turn that they get. Must not
// know: how they ask.
import { type ChildProcess, fork } from 'node:child_process'
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
  const competitors = Array.from({ length: PROCESSES }, () =>
    fork(join(import.meta.dirname, 'competitor.ts'), [url, kind, `${ms}`]),
  )
  // Together, when all have loaded their code: that would take the processor from those who compete.
  await Promise.all(competitors.map(nextMessage))
  const telling = competitors.map(async (child): Promise<Account> => {
    child.send('go')
    return await nextMessage(child)
  })
  const accounts = await Promise.all(telling)
  const sent: Record<string, number> = {}
  for (const { tries } of accounts)
    for (const [name, count] of Object.entries(tries)) sent[name] = (sent[name] ?? 0) + count
  const grants = accounts.reduce((sum, account) => sum + account.grants, 0)
  return { processes: PROCESSES, grants, sent }
}

async function nextMessage(child: ChildProcess): Promise<Account> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('a competitor has ended without a word')
  })
  const [message]: Account[] = await Promise.race([once(child, 'message'), ended])
  if (!message) throw new Error('a competitor has said nothing')
  return message
}
