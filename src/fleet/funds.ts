// Money for what is to be sent. Owns: waiting until there is enough of it, and the end of the job when there
// never will be. Must not know: what is sent.
import { NANO_PER_USD } from '../core/money.ts'
import type { Changes } from './changes.ts'
import type { Ending } from './ending.ts'
import type { Purse } from './purse.ts'

export interface FundsOptions {
  readonly purse: Purse
  readonly changes: Changes
  readonly ending: Ending
  /** What is under way may cost all that is left. */
  readonly onShort: () => void
}

export class Funds {
  readonly #options: FundsOptions

  constructor(options: FundsOptions) {
    this.#options = options
  }

  /**
   * Sets aside the most that a sending can cost, in nano-dollars; null where nobody knows. False when there
   * will never be so much, or nothing more is sent.
   */
  async setAside(worstNanoUsd: number | null): Promise<boolean> {
    const { purse, changes, ending, onShort } = this.#options
    const worst = worstNanoUsd ?? 0
    if (!purse.has(worst) && purse.hasSetAside) onShort()
    while (!ending.isStopping && !purse.has(worst) && purse.hasSetAside) await changes.next()
    if (ending.isStopping) return false
    if (!purse.has(worst)) {
      const maxSpendUsd = purse.most / NANO_PER_USD
      ending.stop({ kind: 'budget_exceeded', spentNanoUsd: purse.spent, maxSpendUsd })
      return false
    }
    purse.setAside(worst)
    return true
  }
}
