// Models that came out after the price package did. Owns: their published prices, until the package has
// them. Must not know: how prices are looked up or used.

/** Anthropic's published prices of November 2026; what it reads from a cache is not always a tenth. */
export const LATER_PRICES = [
  {
    provider: 'anthropic',
    match: /^claude-sonnet-5[.-]5(?!\d)/,
    base: anthropic(2_000_000, { cacheRead: 100_000 }),
    tiers: [],
  },
  {
    provider: 'anthropic',
    match: /^claude-haiku-5[.-]5(?!\d)/,
    base: anthropic(100_000, { cacheRead: 10_000 }),
    tiers: [{ above: 100_000, prices: anthropic(500_000, { cacheRead: 50_000 }) }],
  },
  {
    provider: 'anthropic',
    match: /^claude-(fable|mythos)-5[.-]2(?!\d)/,
    base: anthropic(8_000_000, { cacheRead: 200_000 }),
    tiers: [],
  },
]

/** In pico-dollars per token. The other prices of this generation of models follow that of the input. */
function anthropic(input: number, { cacheRead }: { readonly cacheRead: number }) {
  return {
    input,
    cacheRead,
    cacheWrite: (input * 5) / 4,
    cacheWriteHour: input * 2,
    output: input * 5,
  }
}
