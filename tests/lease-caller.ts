// Somebody who asks a gate for leases with plain HTTP. Owns: asking, and reading a stream of events as it
// comes. Must not know: what any test proves.
import { z } from 'zod'
import { until } from './harness.ts'

export const LEASES = '/headgate/v1/leases'

/** All that documents about leases may have. */
const documentSchema = z.looseObject({
  id: z.string().optional(),
  resource: z.string().optional(),
  waitedMs: z.number().optional(),
  expiresAt: z.number().nullish(),
  position: z.number().optional(),
  placeLost: z.boolean().optional(),
  reason: z.string().optional(),
  detail: z.string().optional(),
  errors: z.array(z.object({ field: z.string(), detail: z.string() })).optional(),
  leases: z.array(z.looseObject({ id: z.string(), state: z.string() })).optional(),
})

export type LeaseDocument = z.infer<typeof documentSchema>

export interface LeaseAnswer {
  readonly status: number
  readonly headers: Headers
  /** Empty where the answer had no body. */
  readonly document: LeaseDocument
}

export interface Asked {
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export async function askGate(url: string, path: string, asked: Asked = {}): Promise<LeaseAnswer> {
  const { method = 'GET', body, headers = {}, signal } = asked
  const response = await fetch(url + path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(signal && { signal }),
  })
  const text = await response.text()
  const document = documentSchema.parse(text === '' ? {} : JSON.parse(text))
  return { status: response.status, headers: response.headers, document }
}

export const acquire = (url: string, body: unknown, more: Asked = {}): Promise<LeaseAnswer> =>
  askGate(url, LEASES, { ...more, method: 'POST', body })

/** A lease that is to be had; throws otherwise. */
export async function hold(url: string, body: unknown, more: Asked = {}): Promise<string> {
  const { status, document } = await acquire(url, body, more)
  if (status !== 201 || document.id === undefined)
    throw new Error(`not granted: ${status} ${JSON.stringify(document)}`)
  return document.id
}

export const settle = (url: string, id: string, more: Asked = {}): Promise<LeaseAnswer> =>
  askGate(url, `${LEASES}/${id}/settle`, { body: {}, ...more, method: 'POST' })

export interface Watcher {
  /** Every event so far. */
  readonly events: readonly { readonly name: string; readonly document: LeaseDocument }[]
  /** Resolves with the first event of a name. */
  saw(name: string): Promise<LeaseDocument>
  /** All that came, byte for byte. */
  readonly text: string
  readonly isOver: boolean
  hangUp(): void
}

/** Asks, and watches its place in line. Throws where the answer is no stream. */
export async function watch(url: string, body: unknown, more: Asked = {}): Promise<Watcher> {
  const gone = new AbortController()
  const response = await fetch(url + LEASES, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      ...more.headers,
    },
    body: JSON.stringify(body),
    signal: gone.signal,
  })
  if (response.status !== 200 || !response.body)
    throw new Error(`no stream: ${response.status} ${await response.text()}`)
  let text = ''
  let isOver = false
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true })
  }
  // A stream that breaks off is over: what came of it is there to be looked at.
  read(response.body).then(
    () => {
      isOver = true
    },
    () => {
      isOver = true
    },
  )
  const events = () =>
    [...text.matchAll(/^event: (\w+)\ndata: (.+)\n\n/gm)].map(([, name = '', data = '']) => ({
      name,
      document: documentSchema.parse(JSON.parse(data)),
    }))
  return {
    get events() {
      return events()
    },
    get text() {
      return text
    },
    get isOver() {
      return isOver
    },
    async saw(name) {
      const find = () => events().find((event) => event.name === name)
      await until(() => find() !== undefined)
      return find()?.document ?? {}
    },
    hangUp: () => gone.abort(),
  }
}
