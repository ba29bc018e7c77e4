// How a mistake in the configuration is told. Must not know: which mistakes there are.

/** Where a value was written: a flag, a variable or `file:line:column: key`. */
export interface Place {
  readonly at: string
  /** The value is a secret and is never repeated. */
  readonly isSecret?: boolean
}

const LONGEST_QUOTE = 60
/** Credentials in a URL, or a key that was pasted where it does not belong. */
const LOOKS_SECRET = /@|^sk-|password=/i

/** One line: place, what was written, what is wrong and what to do. */
export function problemLine(place: Place, written: string | null, why: string): string {
  return `${place.at}: ${quote(place, written)} ${why}`
}

function quote(place: Place, written: string | null): string {
  const canShow = written !== null && !place.isSecret && !LOOKS_SECRET.test(written)
  if (!canShow) return 'the value'
  return JSON.stringify(
    written.length > LONGEST_QUOTE ? `${written.slice(0, LONGEST_QUOTE)}…` : written,
  )
}

/** The configuration can't be used. `problems` holds all of it, one line each, ready to print. */
export class ConfigError extends Error {
  readonly code = 'CONFIG_INVALID'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}
