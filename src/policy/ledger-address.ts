// Where money is kept, as people write it: a file, a Postgres, or nowhere. Owns: the grammar of such
// addresses, and the usual place. Must not know: how a ledger is opened, or what is in it.
import { homedir } from 'node:os'
import path from 'node:path'
import type { Parsed } from './units.ts'

interface PostgresAddress {
  readonly kind: 'postgres'
  /** With its password. */
  readonly url: string
  /** The address as it may be shown to anybody: without credentials. */
  readonly shown: string
}

interface NoLedger {
  readonly kind: 'off'
  readonly shown: string
}

/** An address as it was written. */
export type WrittenLedger =
  | {
      readonly kind: 'sqlite'
      /** Null: the usual place. */
      readonly path: string | null
      /** Nobody has named one. */
      readonly isDefault: boolean
      readonly shown: string
    }
  | PostgresAddress
  | NoLedger

/** An address that leads somewhere from this process. */
export type LedgerAddress =
  | {
      readonly kind: 'sqlite'
      /** Absolute. */
      readonly file: string
      /** Nobody has named one. */
      readonly isDefault: boolean
      readonly shown: string
    }
  | PostgresAddress
  | NoLedger

const SQLITE = 'sqlite:'

const IN_USUAL_PLACE = { kind: 'sqlite', path: null, shown: SQLITE } as const

export const USUAL_LEDGER: WrittenLedger = { ...IN_USUAL_PLACE, isDefault: true }

/** `sqlite:`, `sqlite:PATH`, `postgres://…` or `off`. */
export function parseLedgerAddress(text: string): Parsed<WrittenLedger> {
  if (text === 'off') return { kind: 'parsed', value: { kind: 'off', shown: 'off' } }
  if (text === SQLITE) return { kind: 'parsed', value: { ...IN_USUAL_PLACE, isDefault: false } }
  if (text.startsWith(SQLITE)) return sqliteAddress(text.slice(SQLITE.length))
  if (/^postgres(?:ql)?:\/\//.test(text)) return postgresAddress(text)
  return refused('is not a ledger, write sqlite:PATH, one such as postgres://host/database, or off')
}

function sqliteAddress(file: string): Parsed<WrittenLedger> {
  if (/^\/\/|^~|^:memory:$/.test(file)) {
    return refused('names no file, write sqlite: and a plain path such as sqlite:./headgate.db')
  }
  const value = { kind: 'sqlite', path: file, isDefault: false, shown: SQLITE + file } as const
  return { kind: 'parsed', value }
}

function postgresAddress(text: string): Parsed<WrittenLedger> {
  const url = URL.canParse(text) ? new URL(text) : null
  const host = url?.host || url?.searchParams.get('host')
  if (!url || !host) return refused('names no host, write one such as postgres://host/database')
  if (url.pathname.length < 2) {
    return refused('names no database, write one such as postgres://host/database')
  }
  const shown = `${url.protocol}//${host}${url.pathname}`
  return { kind: 'parsed', value: { kind: 'postgres', url: text, shown } }
}

const refused = (why: string): Parsed<never> => ({ kind: 'refused', why })

/** What the usual place depends on. */
export interface Whereabouts {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Relative paths begin here. */
  readonly folder: string
  readonly platform: NodeJS.Platform
}

/** The file that an address means here. */
export function locateLedger(written: WrittenLedger, where: Whereabouts): LedgerAddress {
  if (written.kind !== 'sqlite') return written
  const file =
    written.path === null
      ? path.join(dataFolder(where), 'headgate', 'ledger.db')
      : path.resolve(where.folder, written.path)
  return {
    kind: 'sqlite',
    file,
    isDefault: written.isDefault,
    shown: `${SQLITE}${written.path ?? file}`,
  }
}

/** Where programs keep a user's data. Source: the XDG base directory specification, and each system's rules. */
function dataFolder({ env, platform }: Whereabouts): string {
  const home = env.HOME || env.USERPROFILE || homedir()
  if (platform === 'win32') return env.LOCALAPPDATA || path.join(home, 'AppData', 'Local')
  const { XDG_DATA_HOME } = env
  if (XDG_DATA_HOME && path.isAbsolute(XDG_DATA_HOME)) return XDG_DATA_HOME
  return platform === 'darwin'
    ? path.join(home, 'Library', 'Application Support')
    : path.join(home, '.local', 'share')
}
