// The calendar period that holds an instant. Owns: the local clock's hours. Must not know: budgets.
import { type CalendarWindow, calendarWindowAt } from '../core/calendar.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Period } from './ledger.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

/** The last window asked for of each period: nearly every instant falls into it. */
const lastWindows = new Map<string, CalendarWindow>()

/** `startAt` is inside the period, `endAt` is the next one's start. Periods tile time. */
export function periodAt(period: Period, at: EpochMs): CalendarWindow {
  const name = `${period.unit} ${period.timeZone}`
  const last = lastWindows.get(name)
  if (last && last.startAt <= at && at < last.endAt) return last
  const { unit, timeZone } = period
  const window = unit === 'hour' ? hourAt(timeZone, at) : calendarWindowAt({ unit, timeZone }, at)
  lastWindows.set(name, window)
  return window
}

/**
 * While the zone's hour is shown. Where the zone's offset changes in the midst of an hour (by thirty
 * minutes on Lord Howe), the change ends it, so that no instant is in two hours.
 */
function hourAt(timeZone: string, at: EpochMs): CalendarWindow {
  const offsetMs = offsetAt(timeZone, at)
  const startAt = Math.floor((at + offsetMs) / HOUR_MS) * HOUR_MS - offsetMs
  const endAt = startAt + HOUR_MS
  const isOurs = (instant: EpochMs): boolean => offsetAt(timeZone, instant) === offsetMs
  return {
    startAt: isOurs(startAt) ? startAt : changeBetween(startAt, Math.floor(at), isOurs),
    endAt: isOurs(endAt - 1)
      ? endAt
      : changeBetween(Math.floor(at), endAt - 1, (instant) => !isOurs(instant)),
  }
}

/** The first instant, to the millisecond, at which `isAfter` holds: it does at `to`, not at `from`. */
function changeBetween(from: EpochMs, to: EpochMs, isAfter: (at: EpochMs) => boolean): EpochMs {
  let [before, after] = [from, to]
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (isAfter(middle)) after = middle
    else before = middle
  }
  return after
}

const formats = new Map<string, Intl.DateTimeFormat>()

function formatFor(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone)
  if (known) return known
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
  formats.set(timeZone, format)
  return format
}

/** By how much the zone's clocks are ahead of UTC: from `GMT+05:30`, or for old dates `GMT-00:44:30`. */
function offsetAt(timeZone: string, at: EpochMs): number {
  const shown = formatFor(timeZone).format(at)
  const parts = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(shown)
  if (!parts) return 0
  const [, sign, hours, minutes, seconds] = parts
  const offsetMs =
    Number(hours) * HOUR_MS + Number(minutes) * MINUTE_MS + Number(seconds ?? 0) * 1000
  return sign === '-' ? -offsetMs : offsetMs
}
