// How amounts are written by people: durations, sizes, limits and money. Owns: their grammar, both ways.
// Must not know: which key, flag or variable a text came from.
import type { Dimension } from '../core/cost.ts'
import type { CalendarPeriod, Limit } from '../core/limit.ts'

/** A text that was understood, or the reason why not: a clause that begins with a verb. */
export type Parsed<T> =
  | { readonly kind: 'parsed'; readonly value: T }
  | { readonly kind: 'refused'; readonly why: string }

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** A month that is not a calendar month. */
const MONTH_MS = 30 * DAY_MS

const parsed = <T>(value: T): Parsed<T> => ({ kind: 'parsed', value })
const refused = (why: string): Parsed<never> => ({ kind: 'refused', why })

const NOT_A_DURATION = 'is not a duration, write one such as 250ms, 60s, 10m or 1h30m'
const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/
const DURATION_UNITS = [
  ['d', DAY_MS],
  ['h', HOUR_MS],
  ['m', MINUTE_MS],
  ['s', SECOND_MS],
  ['ms', 1],
] as const

/** Milliseconds: whole numbers with the units d, h, m, s and ms, the largest first. */
export function parseDuration(text: string): Parsed<number> {
  const match = text === '' ? null : DURATION.exec(text)
  if (!match) return refused(NOT_A_DURATION)
  const ms = DURATION_UNITS.reduce(
    (sum, [, unitMs], index) => sum + Number(match[index + 1] ?? 0) * unitMs,
    0,
  )
  return Number.isSafeInteger(ms) ? parsed(ms) : refused('is longer than can be counted')
}

/** The shortest text that `parseDuration` reads as this many milliseconds. */
export function formatDuration(ms: number): string {
  let restMs = ms
  let text = ''
  for (const [unit, unitMs] of DURATION_UNITS) {
    const count = Math.floor(restMs / unitMs)
    if (count > 0) text += `${count}${unit}`
    restMs -= count * unitMs
  }
  return text || '0s'
}

const NOT_A_SIZE = 'is not a size, write one such as 64KB, 32MiB or 1GiB'
const SIZE = /^(\d+)(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$/
const SIZE_UNITS: Readonly<Record<string, number>> = {
  TiB: 2 ** 40,
  TB: 1e12,
  GiB: 2 ** 30,
  GB: 1e9,
  MiB: 2 ** 20,
  MB: 1e6,
  KiB: 2 ** 10,
  KB: 1e3,
  B: 1,
}

/** Bytes: KB counts thousands, KiB counts 1024. */
export function parseSize(text: string): Parsed<number> {
  const [, count, unit] = SIZE.exec(text) ?? []
  if (count === undefined || unit === undefined) return refused(NOT_A_SIZE)
  const bytes = Number(count) * (SIZE_UNITS[unit] ?? 1)
  return Number.isSafeInteger(bytes) ? parsed(bytes) : refused('is larger than can be counted')
}

/** The text with the fewest digits that `parseSize` reads as this many bytes. */
export function formatSize(bytes: number): string {
  const unit = Object.entries(SIZE_UNITS).find(([, size]) => bytes >= size && bytes % size === 0)
  return unit ? `${bytes / unit[1]}${unit[0]}` : `${bytes}B`
}

const NOT_A_LIMIT =
  'is not a limit, write AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], such as 1000/min burst 50'
const LIMIT =
  /^(\d+)\/(\d+)?(s|min|hour|day|month)(?: burst (\d+))?(?: (bucket|sliding|fixed))?(?: in (\S+))?$/
const WINDOWS: Readonly<Record<string, number>> = {
  month: MONTH_MS,
  day: DAY_MS,
  hour: HOUR_MS,
  min: MINUTE_MS,
  s: SECOND_MS,
}

/**
 * A limit such as `1000/min burst 50`. Without an algorithm it is a token bucket. A `fixed` window of
 * one day or month is the calendar's, in UTC or in the time zone that it names; any other month counts
 * as 30 days.
 */
export function parseLimit(
  dimension: Exclude<Dimension, 'concurrency'>,
  text: string,
): Parsed<Limit> {
  const match = LIMIT.exec(text)
  if (!match) return refused(NOT_A_LIMIT)
  const [, amountText, countText = '1', unit = '', burstText, algorithm = 'bucket', zone] = match
  const amount = Number(amountText)
  const burst = burstText === undefined ? undefined : Number(burstText)
  const windowMs = Number(countText) * (WINDOWS[unit] ?? 0)
  if (![amount, windowMs, burst ?? 1].every((n) => n > 0 && Number.isSafeInteger(n))) {
    return refused('has a part that is zero or too large to count, write whole numbers from 1')
  }
  const calendar = windowMs === WINDOWS[unit] ? calendarOf(unit, zone) : null
  if (zone !== undefined && (algorithm !== 'fixed' || !calendar)) {
    return refused('names a time zone without fixing a day or a month: leave it out')
  }
  const limit = { dimension, amount, windowMs, source: 'configured' } as const
  if (algorithm === 'bucket') {
    const bucket = { ...limit, algorithm: 'token_bucket' } as const
    return parsed(burst === undefined ? bucket : { ...bucket, burst })
  }
  if (burst !== undefined) {
    return refused(`gives a burst to a ${algorithm} window, only a bucket has one: leave it out`)
  }
  if (algorithm === 'sliding') return parsed({ ...limit, algorithm: 'sliding_window' })
  if (unit === 'month' && countText !== '1') {
    return refused('fixes a window of several months, write one month or a number of days')
  }
  if (calendar && !isTimeZone(calendar.timeZone)) {
    return refused('names a time zone that is not known, write one such as Europe/Berlin')
  }
  const fixed = { ...limit, algorithm: 'fixed_window' } as const
  return parsed(calendar ? { ...fixed, calendar } : fixed)
}

function calendarOf(unit: string, timeZone = 'UTC'): CalendarPeriod | null {
  return unit === 'day' || unit === 'month' ? { unit, timeZone } : null
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) !== null
  } catch {
    return false
  }
}

/** The text that `parseLimit` reads as this limit; for a concurrency limit its plain number. */
export function formatLimit(limit: Limit): string {
  switch (limit.algorithm) {
    case 'concurrency':
      return String(limit.amount)
    case 'token_bucket': {
      const rate = `${limit.amount}/${formatWindow(limit.windowMs)}`
      return limit.burst === undefined ? rate : `${rate} burst ${limit.burst}`
    }
    case 'sliding_window':
      return `${limit.amount}/${formatWindow(limit.windowMs)} sliding`
    case 'fixed_window': {
      const { amount, windowMs, calendar } = limit
      if (!calendar) return `${amount}/${formatWindow(windowMs, HOUR_MS)} fixed`
      const zone = calendar.timeZone === 'UTC' ? '' : ` in ${calendar.timeZone}`
      return `${amount}/${calendar.unit} fixed${zone}`
    }
  }
}

/** In the largest unit that fits, up to `longestMs`: a fixed `day` or `month` would be the calendar's. */
function formatWindow(windowMs: number, longestMs = MONTH_MS): string {
  const unit = Object.entries(WINDOWS).find(([, ms]) => ms <= longestMs && windowMs % ms === 0)
  if (!unit) return `${windowMs}ms`
  const count = windowMs / unit[1]
  return count === 1 ? unit[0] : `${count}${unit[0]}`
}

/** So much money for each period of the calendar. */
export interface WrittenBudget {
  /** Integer nano-dollars. */
  readonly amount: number
  readonly period: { readonly unit: 'hour' | 'day' | 'month'; readonly timeZone: string }
}

const NOT_A_BUDGET =
  'is not a budget, write AMOUNT USD/PERIOD [in ZONE], such as 20 USD/month, PERIOD hour, day or month'
const BUDGET = /^(0|[1-9]\d*)(?:\.(\d+))? USD\/(hour|day|month)(?: in (\S+))?$/
const NANO_DIGITS = 9
/** Above nine million dollars nano-dollars would no longer be exact. */
const MOST_NANO_USD = 9_000_000n * 10n ** BigInt(NANO_DIGITS)

/** A budget such as `20 USD/month in Europe/Berlin`, to the nano-dollar; in UTC where no zone is named. */
export function parseBudget(text: string): Parsed<WrittenBudget> {
  const [, whole, fraction = '', unit, timeZone = 'UTC'] = BUDGET.exec(text) ?? []
  if (whole === undefined || !isBudgetUnit(unit)) return refused(NOT_A_BUDGET)
  if (fraction.length > NANO_DIGITS) return refused('has more than nine decimals, leave some out')
  const amount = scaled(whole, fraction, NANO_DIGITS)
  if (amount === 0n || amount > MOST_NANO_USD) {
    return refused('is nothing or too large, write an amount up to 9000000 USD')
  }
  if (!isTimeZone(timeZone)) {
    return refused('names a time zone that is not known, write one such as Europe/Berlin')
  }
  return parsed({ amount: Number(amount), period: { unit, timeZone } })
}

function isBudgetUnit(unit: string | undefined): unit is WrittenBudget['period']['unit'] {
  return unit === 'hour' || unit === 'day' || unit === 'month'
}

/** The text that `parseBudget` reads as this budget. */
export function formatBudget({ amount, period }: WrittenBudget): string {
  const zone = period.timeZone === 'UTC' ? '' : ` in ${period.timeZone}`
  return `${unscaled(amount, NANO_DIGITS)} USD/${period.unit}${zone}`
}

const NOT_A_PRICE = 'is not a price, write AMOUNT USD/Mtok, such as 3 USD/Mtok or 0.25 USD/Mtok'
const PRICE = /^(0|[1-9]\d*)(?:\.(\d+))? USD\/Mtok$/
/** A dollar for a million tokens is a million pico-dollars for each. */
const PRICE_DIGITS = 6
const MOST_PICO_USD = 1_000_000n * 10n ** BigInt(PRICE_DIGITS)

/** A price such as `0.25 USD/Mtok`, in whole pico-dollars per token. */
export function parsePrice(text: string): Parsed<number> {
  const [, whole, fraction = ''] = PRICE.exec(text) ?? []
  if (whole === undefined) return refused(NOT_A_PRICE)
  if (fraction.length > PRICE_DIGITS) return refused('has more than six decimals, leave some out')
  const price = scaled(whole, fraction, PRICE_DIGITS)
  if (price > MOST_PICO_USD) return refused('is too large, write one up to 1000000 USD/Mtok')
  return parsed(Number(price))
}

/** The text that `parsePrice` reads as this price. */
export const formatPrice = (price: number): string => `${unscaled(price, PRICE_DIGITS)} USD/Mtok`

/** A decimal as a whole number of its smallest parts. Never a float: those can't hold 0.1. */
function scaled(whole: string, fraction: string, digits: number): bigint {
  return BigInt(whole + fraction.padEnd(digits, '0'))
}

function unscaled(amount: number, digits: number): string {
  const text = String(amount).padStart(digits + 1, '0')
  const fraction = text.slice(-digits).replace(/0+$/, '')
  return text.slice(0, -digits) + (fraction === '' ? '' : `.${fraction}`)
}
