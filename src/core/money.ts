// Money: its unit, and how people read it. Must not know: what is paid for.

/** Amounts are integers of these. */
export const NANO_PER_USD = 1e9

const NANO_DIGITS = 9

/** Nano-dollars as dollars, exactly and with no more decimals than that needs: `12.5`, `0.000003`, `-1`. */
export function formatUsd(nanoUsd: number): string {
  const digits = String(Math.abs(nanoUsd)).padStart(NANO_DIGITS + 1, '0')
  const fraction = digits.slice(-NANO_DIGITS).replace(/0+$/, '')
  const whole = digits.slice(0, -NANO_DIGITS)
  return `${nanoUsd < 0 ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}
