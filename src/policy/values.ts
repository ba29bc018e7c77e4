// The types of single values in the configuration. Each says what is wrong with a value in a clause
// that begins with a verb. Must not know: which setting has which type.
import { isIP, isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'
import { parseLedgerAddress } from './ledger-address.ts'
import { isLoopback } from './loopback.ts'
import { parseStoreAddress } from './store-address.ts'
import { KEY_SCOPES, type KeyScope } from './subject.ts'
import { type Parsed, parseDuration, parsePrice, parseSize } from './units.ts'

/** A value that is written as text. */
function textOf<T>(parse: (text: string) => Parsed<T>) {
  return z
    .string({ error: () => refusalOf(parse) })
    .transform((text, context) => settle(parse(text), text, context))
}

const EMPTY_LIST = 'is an empty list, write at least one or leave it out'

/** One value that is written as text, or a list of them. */
export function textsOf<T>(parse: (text: string) => Parsed<T>) {
  const text = z.string()
  return z
    .union([text, z.array(text).min(1, { error: EMPTY_LIST })], { error: () => refusalOf(parse) })
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

const SHORTEST_LEASE_MS = 1000
const LONGEST_LEASE_MS = 86_400_000

/** How long a lease may last without a sign of life. */
export const leaseTtl = duration.refine((ms) => ms >= SHORTEST_LEASE_MS && ms <= LONGEST_LEASE_MS, {
  error: 'is not a time from 1s to 24h, write one such as 30s',
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

export const ledger = textOf(parseLedgerAddress)

export const truth = z.boolean({ error: 'is not true or false, write one of them' })

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

/** Whose pages a browser shows, as it says so in the header `Origin`. */
export const origin = textOf((text): Parsed<string> => {
  const url = URL.canParse(text) ? new URL(text) : null
  const isWebPage = url !== null && /^https?:$/.test(url.protocol) && !url.host.includes('*')
  return isWebPage && url.href === `${url.origin}/`
    ? { kind: 'parsed', value: url.origin }
    : { kind: 'refused', why: 'is not an origin, write one without a path, such as https://host' }
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

const MODEL = /^[^\s*?[\]{}]+$/

function parseModel(text: string): Parsed<string> {
  return MODEL.test(text)
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not a model, write a name without spaces and *' }
}

/** One model. */
export const model = textOf(parseModel)

export const models = textsOf(parseModel)

/** The longest name of a user, a team or a key, in UTF-16 units. */
const LONGEST_NAME = 200

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const WITHOUT_CONTROLS = /^[^\u0000-\u001f\u007f-\u009f]+$/

/** Whether a text can name a user, a team or a key: no control characters, not too long, not nothing. */
export function isName(text: string): boolean {
  return text.length <= LONGEST_NAME && WITHOUT_CONTROLS.test(text) && text.isWellFormed()
}

/** The name of a user, a team, a key or a tier. */
export const name = textOf((text) =>
  isName(text)
    ? { kind: 'parsed', value: text }
    : {
        kind: 'refused',
        why: `is not a name, write 1 to ${LONGEST_NAME} characters, in quotes if they are digits`,
      },
)

/** What leases are asked for. Names with a slash are the gate's own to give. */
export const resourceName = textOf((text) =>
  /^[\w.:-]{1,100}$/.test(text)
    ? { kind: 'parsed', value: text }
    : {
        kind: 'refused',
        why: 'is not the name of a resource, write 1 to 100 letters, digits, dots, colons, - or _',
      },
)

export const scope = oneOf(...KEY_SCOPES)

/** Scopes of a key as the command line has them: with commas between. */
export const scopes = textOf((text): Parsed<KeyScope[]> => {
  const words = z.array(scope).safeParse(text.split(','))
  return words.success
    ? { kind: 'parsed', value: words.data }
    : { kind: 'refused', why: `is not a list of scopes, write ${listed(KEY_SCOPES)}, with commas` }
})

export const sha256 = textOf((text) =>
  /^[\da-f]{64}$/i.test(text)
    ? { kind: 'parsed', value: text.toLowerCase() }
    : { kind: 'refused', why: 'is not a SHA-256, write its 64 hex digits in quotes' },
)

const LEAST_TOKEN = 16

export const adminToken = secret.refine((token) => token.length >= LEAST_TOKEN, {
  error: `is too short to be safe, write ${LEAST_TOKEN} characters or more`,
})

/** Headers that mean something else to the gate or to providers. */
const TAKEN_HEADERS = ['authorization', 'x-api-key', 'x-headgate-key', 'host', 'content-length']

/** In lower case. */
export const headerName = textOf((text): Parsed<string> => {
  const header = text.toLowerCase()
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(text)) {
    return { kind: 'refused', why: 'is not the name of a header, write one such as x-user' }
  }
  return TAKEN_HEADERS.includes(header)
    ? { kind: 'refused', why: 'means something else already, name another header' }
    : { kind: 'parsed', value: header }
})

/** An address, or a network such as `10.0.0.0/8`. */
export const network = textOf((text) => {
  const [, address = '', prefix] = /^([\da-f.:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const longest = isIPv4(address) ? 32 : 128
  return isIP(address) !== 0 && Number(prefix ?? 0) <= longest
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not a network, write one such as 10.0.0.0/8 or ::1' }
})

export const price = textOf(parsePrice)

export const webhookUrl = textOf((text) => {
  const url = URL.canParse(text) ? new URL(text) : null
  const isSafe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))
  return isSafe
    ? { kind: 'parsed', value: text }
    : { kind: 'refused', why: 'is not an https URL, plain http is only for this machine' }
})
