// The types of single values in the configuration. Each says what is wrong with a value in a clause
// that begins with a verb. Must not know: which setting has which type.
import { isIPv6 } from 'node:net'
import { z } from 'zod'
import { parseStoreAddress } from './store-address.ts'
import { type Parsed, parseDuration, parseSize } from './units.ts'

/** A value that is written as text. */
function textOf<T>(parse: (text: string) => Parsed<T>) {
  return z
    .string({ error: () => refusalOf(parse) })
    .transform((text, context) => settle(parse(text), text, context))
}

/** One value that is written as text, or a list of them. */
export function textsOf<T>(parse: (text: string) => Parsed<T>) {
  const text = z.string()
  return z
    .union([text, z.array(text).min(1)], { error: () => refusalOf(parse) })
    .transform((written, context) =>
      [written].flat().map((item, index) => {
        const result = parse(item)
        if (result.kind === 'parsed') return result.value
        const path = Array.isArray(written) ? [index] : []
        context.issues.push({ code: 'custom', message: result.why, input: item, path })
        return z.NEVER
      }),
    )
}

function refusalOf(parse: (text: string) => Parsed<unknown>): string {
  const forNothing = parse('')
  return forNothing.kind === 'refused' ? forNothing.why : 'is not a text, put it in quotes'
}

function settle<T>(result: Parsed<T>, input: string | number, context: z.RefinementCtx): T {
  if (result.kind === 'parsed') return result.value
  context.issues.push({ code: 'custom', message: result.why, input })
  return z.NEVER
}

export const duration = textOf(parseDuration)

export const positiveDuration = duration.refine((ms) => ms > 0, {
  error: 'is no time at all, write one such as 60s',
})

export const size = textOf(parseSize)

/** A whole number, written as a number or, from a flag or a variable, as its digits. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER) {
  const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `one from ${min} to ${max}`
  const why = `is not a whole number, write ${range}`
  const number = z.int({ error: why }).min(min, { error: why }).max(max, { error: why })
  const digits = z.string().regex(/^\d+$/, { error: why })
  return z.union([number, digits.transform(Number).pipe(number)], { error: why })
}

export const store = textOf(parseStoreAddress)

export function oneOf<const T extends string>(...words: readonly [T, ...T[]]) {
  return z.enum(words, { error: `is not known here, write ${listed(words)}` })
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

export const host = textOf((text) =>
  isIPv6(text) || /^[\w.-]+$/.test(text)
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not a host, write a name or an address such as 127.0.0.1' },
)

export const port = wholeNumber(0, 65_535)

export interface Listen {
  readonly host: string
  readonly port: number
}

export const listen = textOf((text): Parsed<Listen> => {
  const [, bracketed, plain, portText] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(text) ?? []
  const read = z.object({ host, port }).safeParse({ host: bracketed ?? plain, port: portText })
  return read.success
    ? { kind: 'parsed', value: read.data }
    : {
        kind: 'refused',
        why: 'is not an address, write HOST:PORT such as 127.0.0.1:4000, PORT at most 65535',
      }
})

/** The base of an API's addresses, without a slash at its end. */
export const baseUrl = textOf((text): Parsed<string> => {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol)) {
    return { kind: 'refused', why: 'is not an http or https URL, write one such as https://host' }
  }
  if (url.username || url.password || url.search || url.hash) {
    return { kind: 'refused', why: 'has more than host and path, leave out user, query and #' }
  }
  return { kind: 'parsed', value: url.href.replace(/\/+$/, '') }
})

/** A header can carry it: no spaces, no line ends, nothing beyond ASCII. */
export const secret = textOf((text) =>
  /^[\x21-\x7e]+$/.test(text)
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not a key, write one without spaces' },
)

/** Names of models, where `*` stands for any letters. */
export const glob = textOf((text) =>
  /^[^\s?[\]{}]+$/.test(text)
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not a model pattern, write a name with * for any letters' },
)
