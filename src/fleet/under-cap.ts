// Which payloads may be sent where a sum of money bounds a job. Owns: why one may not. Must not know: how much money
// there is.
import type { PriceTag } from './price-tag.ts'

const priceUnknown = (model: string): string =>
  `The price of ${model} is not known, and maxSpendUsd bounds this job: put its price under prices in the configuration.`

const UNBOUNDED =
  'What this prompt costs has no bound, and maxSpendUsd bounds this job: the provider runs tools for it, or ' +
  'compacts it, and charges for what they read. Leave those out, or ask it in a job without maxSpendUsd.'

/** Why a payload is not sent where a sum bounds all; null where it is. */
export function notUnderCap(
  { worstNanoUsd, isBounded }: PriceTag,
  model: string,
): { readonly type: string; readonly message: string } | null {
  if (worstNanoUsd === null) return { type: 'price_unknown', message: priceUnknown(model) }
  return isBounded ? null : { type: 'cost_unbounded', message: UNBOUNDED }
}
