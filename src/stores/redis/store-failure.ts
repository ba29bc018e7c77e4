// What went wrong with a Redis, in words that may be logged. Owns: telling a server that cannot be
// used now from a script's own mistake. Must not know: any command. Nothing of a command's arguments
// is in these words, and no error of the driver's is passed on as a cause: those carry passwords.
import { StoreUnreachable } from '../../core/store.ts'

/** The first words of errors that say something of the server's state, not of the command. */
const STATES: Readonly<Record<string, string>> = {
  LOADING: 'is still loading its data',
  READONLY: 'is a replica, which cannot be written to',
  OOM: 'has no memory left (maxmemory)',
  MASTERDOWN: 'is a replica that has lost its primary',
  CLUSTERDOWN: 'is part of a cluster that is down',
  TRYAGAIN: 'is moving keys to another node',
  NOAUTH: 'wants a password',
  WRONGPASS: 'refuses the password',
  NOPERM: 'does not allow this user all that is needed',
  NOREPLICAS: 'has too few replicas to write',
  MISCONF: 'cannot write to its disk and so takes no writes',
  BUSY: 'is busy with a script',
  UNKILLABLE: 'is busy with a script',
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'broke the connection',
  EPIPE: 'broke the connection',
  ETIMEDOUT: 'does not answer',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  ENOTFOUND: 'has a name that is not known',
  EAI_AGAIN: 'has a name that cannot be looked up',
}

/** Which of the server's states an error tells of; before Redis 7 a script's errors wrap it. */
export function stateIn(error: unknown): string | null {
  const words = textOf(error).match(/\b[A-Z]{3,}\b/g) ?? []
  return words.find((word) => word in STATES) ?? null
}

/** The error itself where the script or command is to blame, otherwise that nothing is known. */
export function storeFailure(error: unknown, shown: string): Error {
  const isOwnMistake =
    stateIn(error) === null && /^(?:ERR|WRONGTYPE|CROSSSLOT|NOSCRIPT)\b/.test(textOf(error))
  if (isOwnMistake && error instanceof Error) return error
  return new StoreUnreachable(`${shown} ${clauseOf(error)}`)
}

/** What an error says of the server: a clause that begins with a verb. */
export function clauseOf(error: unknown): string {
  const state = stateIn(error)
  if (state !== null) return STATES[state] ?? ''
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const text = textOf(error)
  const named = NETWORK[code] ?? NETWORK[/\bE[A-Z]{4,}\b/.exec(text)?.[0] ?? '']
  if (named) return named
  if (/timed out|timeout/i.test(text)) return 'does not answer in time'
  if (/max number of clients/.test(text)) return 'has too many clients'
  return code === '' ? 'has closed the connection' : `cannot be reached (${code})`
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : '')
