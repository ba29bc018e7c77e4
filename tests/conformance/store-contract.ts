// The contract that every store keeps. Owns: the one suite that all of them run, and the one that
// compares two of them. Must not know: any store.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cases } from './cases.ts'
import { decisionsOf, differentialHistory } from './history.ts'
import { holderCases } from './holder-cases.ts'
import { invariants } from './invariants.ts'
import type { StoreUnderTest } from './line.ts'
import { ticketCases } from './ticket-cases.ts'
import { traces } from './traces.ts'

export { decisionsOf, differentialHistory, type History } from './history.ts'
export type { StoreAtHand, StoreUnderTest } from './line.ts'

export function storeContract(name: string, underTest: StoreUnderTest): void {
  describe(`the ${name} store`, () => {
    cases(underTest)
    holderCases(underTest)
    ticketCases(underTest)
    invariants(underTest)
    traces(underTest)
  })
}

/** A store decides whatever the oracle decides, over histories of everything that it may be asked. */
export function sameDecisions(
  name: string,
  underTest: StoreUnderTest,
  oracle: StoreUnderTest,
): void {
  describe(`the ${name} store`, () => {
    it('decides as the oracle does, over every history', async () => {
      await fc.assert(
        fc.asyncProperty(differentialHistory, async (history) => {
          const decisions = await decisionsOf(underTest, history)
          expect(decisions).toEqual(await decisionsOf(oracle, history))
        }),
        { numRuns: underTest.runs ?? 150 },
      )
    })
  })
}
