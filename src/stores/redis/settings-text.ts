// The settings of a gate as its scripts read them. Owns: their JSON. Must not know: when they are sent.
import type { GateSettings } from '../../core/admission.ts'
import { type CalendarWindow, calendarWindowAt } from '../../core/calendar.ts'
import type { EpochMs } from '../../core/clock.ts'
import type { CalendarPeriod, Limit } from '../../core/limit.ts'

/** Scripts know no time zones: they are given the window in force and those that follow. */
const WINDOWS_GIVEN = 3

export function settingsText(settings: GateSettings, now: EpochMs): string {
  return JSON.stringify({
    limits: settings.limits.map((limit) => described(limit, now)),
    learns: settings.learns,
    floor_soft: settings.floors.soft,
    floor_hard: settings.floors.hard,
    aging_ms: finite(settings.agingMs),
    max_queued: finite(settings.maxQueued),
  })
}

/** JSON has no infinity: what is left out is unbounded. */
const finite = (x: number): number | undefined => (Number.isFinite(x) ? x : undefined)

function described(limit: Limit, now: EpochMs) {
  const { algorithm, dimension, amount, source } = limit
  switch (algorithm) {
    case 'concurrency':
      return { algorithm, dimension, amount, source }
    case 'token_bucket':
      return { algorithm, dimension, amount, source, window_ms: limit.windowMs, burst: limit.burst }
    case 'sliding_window':
      return { algorithm, dimension, amount, source, window_ms: limit.windowMs }
    case 'fixed_window': {
      const windows = limit.calendar && windowsFrom(limit.calendar, now)
      return { algorithm, dimension, amount, source, window_ms: limit.windowMs, windows }
    }
  }
}

function windowsFrom(period: CalendarPeriod, now: EpochMs) {
  const windows: CalendarWindow[] = []
  let at = now
  while (windows.length < WINDOWS_GIVEN) {
    const window = calendarWindowAt(period, at)
    windows.push(window)
    at = window.endAt
  }
  return windows.map(({ startAt, endAt }) => ({ start_at: startAt, end_at: endAt }))
}
