// Days and months in a time zone. Must not know: what is limited by them.
import type { EpochMs } from './clock.ts'
import type { CalendarPeriod } from './limit.ts'

/** `startAt` is inside the window, `endAt` is the next one's start. */
export interface CalendarWindow {
  readonly startAt: EpochMs
  readonly endAt: EpochMs
}

interface LocalDate {
  readonly year: number
  readonly month: number
  readonly day: number
}

const formats = new Map<string, Intl.DateTimeFormat>()

function formatFor(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone)
  if (known) return known
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  formats.set(timeZone, format)
  return format
}

function localParts(at: EpochMs, timeZone: string): Map<string, number> {
  const parts = formatFor(timeZone).formatToParts(at)
  return new Map(parts.map((part) => [part.type, Number(part.value)]))
}

/** What the zone's clocks show at an instant, read as if it were UTC. */
function localAsUtc(at: EpochMs, timeZone: string): EpochMs {
  const parts = localParts(at, timeZone)
  const get = (name: string): number => parts.get(name) ?? 0
  return Date.UTC(
    get('year'),
    get('month') - 1,
    get('day'),
    get('hour'),
    get('minute'),
    get('second'),
  )
}

const DAY_MS = 86_400_000

/**
 * The first instant of a local date. A change of the zone's offset may skip its midnight, or repeat
 * it: of the instants that the offsets of the day before and after give, it is the earliest at which
 * the date has begun.
 */
function startOfDay({ year, month, day }: LocalDate, timeZone: string): EpochMs {
  const wanted = Date.UTC(year, month - 1, day)
  const candidates = [wanted - DAY_MS, wanted + DAY_MS].map(
    (near) => wanted - (localAsUtc(near, timeZone) - near),
  )
  const begun = candidates.filter((at) => localAsUtc(at, timeZone) >= wanted)
  return Math.min(...begun)
}

/** The calendar window that holds an instant: a day of 23 to 25 hours, or a month. */
export function calendarWindowAt(period: CalendarPeriod, at: EpochMs): CalendarWindow {
  const parts = localParts(at, period.timeZone)
  const year = parts.get('year') ?? 0
  const month = parts.get('month') ?? 0
  const day = period.unit === 'day' ? (parts.get('day') ?? 0) : 1
  const next =
    period.unit === 'day' ? { year, month, day: day + 1 } : { year, month: month + 1, day: 1 }
  return {
    startAt: startOfDay({ year, month, day }, period.timeZone),
    endAt: startOfDay(next, period.timeZone),
  }
}
