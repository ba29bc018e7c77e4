// What Postgres' errors mean to the ledger. Owns: which of them blame the operations, which pass by
// waiting, and which a person must cure. Must not know: what was asked.
//
// Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
import { DatabaseError } from 'pg'
import { LedgerSetupError, LedgerUnavailable } from '../ledger.ts'

/** Invalid values and broken constraints; anything else would befall any other operation too. */
const BLAMES_OPERATION = /^2[23]/

/** What repeating cures at once: serialization failure, deadlock. */
const REPEATABLE = new Set(['40001', '40P01'])

/** By code or by the class that its first two letters name; what to do about it. */
const SETUP_TROUBLES: Readonly<Record<string, string>> = {
  '28': 'check the user and the password in its URL',
  '3D': 'create it, or name another one in its URL',
  '42501': 'grant the user the right to create a schema there, or to use the one that is there',
}

export function isRepeatable(error: unknown): boolean {
  return error instanceof DatabaseError && REPEATABLE.has(error.code ?? '')
}

/**
 * The error as the ledger knows it. Trouble with the server or the way to it is `LedgerUnavailable`, a
 * wrong password included: it may be put right while the gate runs, and no money is forgotten until then.
 */
export function asLedgerError(error: unknown, shown: string): unknown {
  if (error instanceof DatabaseError && BLAMES_OPERATION.test(error.code ?? '')) return error
  return new LedgerUnavailable(`ledger ${shown}: ${reasonOf(error)}`, error)
}

/** While the ledger is opened: what waiting does not cure is told at once. */
export function asOpeningError(error: unknown, shown: string): unknown {
  if (error instanceof LedgerSetupError) return error
  const advice = adviceFor(error)
  if (advice === null) return asLedgerError(error, shown)
  return new LedgerSetupError(`ledger ${shown}: ${reasonOf(error)}; ${advice}`, error)
}

function adviceFor(error: unknown): string | null {
  if (error instanceof DatabaseError) {
    const code = error.code ?? ''
    return SETUP_TROUBLES[code] ?? SETUP_TROUBLES[code.slice(0, 2)] ?? null
  }
  // The driver's own, where the server wants a password and the URL has none.
  const isPasswordMissing = error instanceof Error && error.message.startsWith('SASL')
  return isPasswordMissing ? 'write the password into its URL' : null
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node's own, of a host with several addresses, has no message.
  const [first] = error instanceof AggregateError ? error.errors : [error]
  const message = first instanceof Error ? first.message : error.message
  return error instanceof DatabaseError ? `${message} (${error.code})` : `out of reach: ${message}`
}
