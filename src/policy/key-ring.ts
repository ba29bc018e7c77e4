// The virtual keys that are known. Owns: how secrets are made, hashed and found. Must not know: what a
// key allows, or where issued keys are kept.
import { hash } from 'node:crypto'
import type { KeyRule } from './subject.ts'

const PREFIX = 'hgk_'
const SECRET_BYTES = 32

/** `hgk_` and 43 characters that nobody can guess. */
export function createSecret(randomBytes: (size: number) => Uint8Array): string {
  return PREFIX + Buffer.from(randomBytes(SECRET_BYTES)).toString('base64url')
}

/** SHA-256 in lower-case hex: all that is kept of a secret. A random one needs no slower hash. */
export function hashSecret(secret: string): string {
  return hash('sha256', secret, 'hex')
}

/** Whether a text is meant as a key of ours, known or not. */
export function looksLikeSecret(text: string): boolean {
  return text.startsWith(PREFIX)
}

/** Keys of the file and keys that were issued while the gate runs, by the hashes of their secrets. */
export class KeyRing {
  #configured: readonly KeyRule[]
  #issued: readonly KeyRule[] = []
  #byHash: ReadonlyMap<string, KeyRule>
  /** The last secret and its hash: most callers send the same one again and again. */
  #last = { secret: '', sha256: '' }

  constructor(configured: readonly KeyRule[]) {
    this.#configured = configured
    this.#byHash = byHash(configured)
  }

  /** The key that a secret belongs to, revoked and expired ones included. */
  find(secret: string): KeyRule | null {
    if (this.#byHash.size === 0) return null
    if (secret !== this.#last.secret) this.#last = { secret, sha256: hashSecret(secret) }
    return this.#byHash.get(this.#last.sha256) ?? null
  }

  /** The file was read again. */
  replaceConfigured(keys: readonly KeyRule[]): void {
    this.#configured = keys
    this.#sort()
  }

  /** All keys that the ledger has; its records have more than is needed here. */
  replaceIssued(keys: readonly KeyRule[]): void {
    this.#issued = keys
    this.#sort()
  }

  #sort(): void {
    // Of a secret that both know, the ledger's word counts: it can revoke.
    this.#byHash = byHash([...this.#configured, ...this.#issued])
  }
}

function byHash(keys: readonly KeyRule[]): ReadonlyMap<string, KeyRule> {
  return new Map(keys.map((key) => [key.sha256, key]))
}
