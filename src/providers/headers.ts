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
  return instantOf(headerText(headers, 'date'))
}

/** Instants are in whole seconds, so a busy second's answers name the same few again and again. */
const MOST_REMEMBERED = 64
const remembered = new Map<string, number>()

/** Reads an instant in any format that HTTP or RFC 3339 knows; null where it is none. */
export function instantOf(text: string | null): number | null {
  if (text === null) return null
  let at = remembered.get(text)
  if (at === undefined) {
    at = Date.parse(text)
    if (remembered.size >= MOST_REMEMBERED) remembered.clear()
    remembered.set(text, at)
  }
  return Number.isNaN(at) ? null : at
}
