// Header values as one text each. Must not know: what any header means to a provider.
import type { Headers } from './provider.ts'

/** A header's value, the first where it came several times, null where it is missing or empty. */
export function headerText(headers: Headers, name: string): string | null {
  const value = headers[name]
  const text = typeof value === 'string' ? value : value?.[0]
  return text === undefined || text === '' ? null : text
}

/** Milliseconds since the epoch by the provider's own clock, or null. */
export function dateOf(headers: Headers): number | null {
  const sentAt = Date.parse(headerText(headers, 'date') ?? '')
  return Number.isNaN(sentAt) ? null : sentAt
}
