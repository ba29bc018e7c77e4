// What the emulator's report says of a run: refusals, bills, and the least time that it could have taken.
// Must not know: who has sent the requests.
import type { EmulatorReport } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import type { Limits } from './processes.ts'

const MINUTE_MS = 60_000
const NANO = 1e9
/** The emulator's time to the first token: nothing is answered sooner. */
export const TTFT_MS = 600

export interface ProviderFigures {
  readonly requests: number
  readonly refused: number
  readonly refusedPercent: number
  readonly overloaded: number
  readonly maxInFlight: number
  readonly billedUsd: number
  readonly lowerBoundMs: number
  readonly inputTokens: number
  readonly outputTokens: number
}

export function providerFigures(report: EmulatorReport, limits: Limits): ProviderFigures {
  const { totals, maxInFlight } = report
  const refused =
    totals.refusedForRequests + totals.refusedForInputTokens + totals.refusedForOutputTokens
  return {
    requests: totals.requests,
    refused,
    refusedPercent: (100 * refused) / Math.max(1, totals.requests),
    overloaded: totals.overloaded,
    maxInFlight,
    billedUsd: billedUsd(report),
    lowerBoundMs: lowerBoundMs(report, limits),
    inputTokens: totals.inputTokens,
    outputTokens: totals.outputTokens,
  }
}

/** As bench/scheduling has it: what a full bucket does not hold must be refilled; what others took is gone. */
function lowerBoundMs({ totals, externalTokens }: EmulatorReport, limits: Limits): number {
  const used = {
    requests: totals.admitted,
    inputTokens: totals.inputTokens + externalTokens,
    outputTokens: totals.outputTokens,
  }
  const refillMs = (name: keyof Limits): number =>
    ((used[name] - limits[name]) / limits[name]) * MINUTE_MS
  return (
    TTFT_MS + Math.max(0, refillMs('requests'), refillMs('inputTokens'), refillMs('outputTokens'))
  )
}

function billedUsd({ bills, startedAt }: EmulatorReport): number {
  const prices = new Prices([])
  const nanoUsd = bills.map((bill) => {
    const price = prices.priceOf('anthropic', bill.model, startedAt)
    if (!price) throw new Error(`the price of ${bill.model} is not known`)
    return costOf(price, bill)
  })
  return nanoUsd.reduce((sum, cost) => sum + cost, 0) / NANO
}
