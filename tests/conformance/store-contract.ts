// The contract that every store keeps. Owns: the one suite that all of them run. Must not know: any
// store.
import { describe } from 'vitest'
import { cases } from './cases.ts'
import { invariants } from './invariants.ts'
import type { StoreUnderTest } from './line.ts'

export { decisionsOf, type History } from './history.ts'
export type { StoreAtHand, StoreUnderTest } from './line.ts'

export function storeContract(name: string, underTest: StoreUnderTest): void {
  describe(`the ${name} store`, () => {
    cases(underTest)
    invariants(underTest)
  })
}
