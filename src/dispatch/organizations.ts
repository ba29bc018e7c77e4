// Whose limits a credential draws on. Owns: fingerprints, and which of them turned out to be one
// organization. Must not know: gates, or what is limited.
import { hash } from 'node:crypto'

/** Enough to tell credentials apart; far too little to find one from. */
const FINGERPRINT_LENGTH = 12
/** Credentials come from callers, so what is kept of them is bounded: the oldest are forgotten. */
const MOST_CREDENTIALS = 10_000

/** The last credential and its name: most processes see few, one after another. */
let last = { credential: '', fingerprint: '' }

/** A short name for a secret, which can be shown and cannot be turned back. */
export function fingerprintOf(credential: string | null): string {
  if (credential === null) return 'anonymous'
  if (credential !== last.credential) {
    const fingerprint = hash('sha256', credential, 'hex').slice(0, FINGERPRINT_LENGTH)
    last = { credential, fingerprint }
  }
  return last.fingerprint
}

/** Credentials of one organization share its limits: all go by the fingerprint first seen. */
export class Organizations {
  readonly #nameOf = new Map<string, string>()
  readonly #firstOf = new Map<string, string>()

  /** The fingerprint that stands for a credential's organization. */
  nameFor(fingerprint: string): string {
    return this.#nameOf.get(fingerprint) ?? fingerprint
  }

  /** Whether an answer has said whose credential it is. */
  knows(fingerprint: string): boolean {
    return this.#nameOf.has(fingerprint)
  }

  /** An answer says whose credential it was. Returns the name to use from now on. */
  learn(fingerprint: string, organization: string): string {
    const known = this.#nameOf.get(fingerprint)
    if (known !== undefined) return known
    const name = this.#firstOf.get(organization) ?? fingerprint
    this.#firstOf.set(organization, name)
    this.#nameOf.set(fingerprint, name)
    forgetOldest(this.#firstOf)
    forgetOldest(this.#nameOf)
    return name
  }
}

function forgetOldest(map: Map<string, string>): void {
  if (map.size <= MOST_CREDENTIALS) return
  const oldest = map.keys().next()
  if (!oldest.done) map.delete(oldest.value)
}
