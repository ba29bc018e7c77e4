// What administrators change while the gate runs, from whatever process. Owns: looking for it. Must not
// know: what becomes of it.
import type { Clock, Timer } from '../core/clock.ts'
import { type Ledger, LedgerUnavailable, type Registry } from './ledger.ts'

/** A key that was revoked elsewhere is refused here after so long at most. */
const LOOK_EVERY_MS = 1000

export interface RegistryWatchOptions {
  readonly clock: Clock
  readonly ledger: Pick<Ledger, 'revision' | 'registry'>
  /** What is known already. */
  readonly registry: Registry
  readonly onChange: (registry: Registry) => void
  readonly failed: (error: unknown) => void
}

export class RegistryWatch {
  readonly #options: RegistryWatchOptions
  #revision: number
  #timer: Timer | null = null
  #isStopped = false
  /** One look at a time. Never rejects. */
  #underWay: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null

  constructor(options: RegistryWatchOptions) {
    this.#options = options
    this.#revision = options.registry.revision
    this.#schedule()
  }

  /**
   * A look that begins after this: whoever asks after a change gets to know it. A look that is under way
   * may have missed it. @throws LedgerUnavailable: then all stays as it is known.
   */
  look(): Promise<void> {
    this.#next ??= this.#underWay.then(() => {
      this.#next = null
      const look = this.#look()
      this.#underWay = look.catch(() => {})
      return look
    })
    return this.#next
  }

  async #look(): Promise<void> {
    const { ledger, onChange } = this.#options
    const revision = await ledger.revision()
    if (revision === this.#revision) return
    const registry = await ledger.registry()
    this.#revision = registry.revision
    onChange(registry)
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #schedule(): void {
    if (this.#isStopped) return
    const { clock, failed } = this.#options
    this.#timer = clock.schedule(clock.now() + LOOK_EVERY_MS, () => {
      this.look()
        .catch((error: unknown) => {
          if (!(error instanceof LedgerUnavailable)) failed(error)
        })
        .finally(() => this.#schedule())
    })
  }
}
