// Amounts and times as people read them, and lines that fit. Must not know: what they are of.
import { stripVTControlCharacters } from 'node:util'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** `30,000` */
export function amountInWords(amount: number): string {
  return grouped.format(Math.round(amount) || 0)
}

/** `1 agent`, `2 agents` */
export function countOf(count: number, noun: string): string {
  return `${amountInWords(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** `0.4 s`, `14 s`, `2 min 5 s`, `3 h 20 min`: two units at most. */
export function spanInWords(ms: number): string {
  const seconds = Math.max(0, ms) / SECOND_MS
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return twoUnits(whole, 60, 'min', 's')
  return twoUnits(Math.round(whole / 60), 60, 'h', 'min')
}

function twoUnits(small: number, size: number, large: string, smallUnit: string): string {
  const rest = small % size
  const head = `${Math.floor(small / size)} ${large}`
  return rest === 0 ? head : `${head} ${rest} ${smallUnit}`
}

/** `2:05` */
export function stopwatch(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / SECOND_MS)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

const WINDOWS = new Map([
  [SECOND_MS, 'a second'],
  [MINUTE_MS, 'a minute'],
  [HOUR_MS, 'an hour'],
  [DAY_MS, 'a day'],
])

/** `a minute`, `in 6.0 s`; without a window, `at once`. */
export function windowInWords(windowMs: number | null): string {
  if (windowMs === null) return 'at once'
  return WINDOWS.get(Math.round(windowMs)) ?? `in ${spanInWords(windowMs)}`
}

/** A bar of `width` cells, filled up to `share` of it. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width)
  return '█'.repeat(filled) + '░'.repeat(width - filled)
}

/** Names come from callers: nothing in them may steer the terminal. */
export function plain(name: string): string {
  return stripVTControlCharacters(name).replaceAll(/\p{C}/gu, '')
}

/** The cells that a line takes on the terminal. All that we write ourselves is one cell wide. */
export function widthOf(line: string): number {
  return [...stripVTControlCharacters(line)].length
}

/** Cuts a painted line to `columns` cells; its colours end where they would have. */
export function clip(line: string, columns: number): string {
  if (widthOf(line) <= columns) return line
  let left = columns - 1
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what colours begin with.
  return line.replaceAll(/\u001b\[[\d;]*m|./gu, (token) => {
    if (token.startsWith('\u001b')) return token
    left--
    if (left === -1) return '…'
    return left >= 0 ? token : ''
  })
}

/** Joins as many of the parts as fit, the first ones first. */
export function joinFitting(parts: readonly string[], separator: string, columns: number): string {
  let line = ''
  for (const part of parts) {
    const longer = line === '' ? part : line + separator + part
    if (line !== '' && widthOf(longer) > columns) return line
    line = longer
  }
  return line
}

/** `padEnd` for painted text. */
export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}
