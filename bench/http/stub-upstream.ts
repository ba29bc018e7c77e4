// A provider that always says yes, as cheaply as node:http allows: Anthropic's `/v1/messages` with
// ample limits in its headers. The parent process sets how it answers. Must not know: any proxy.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'

/** How every request is answered until the next behaviour arrives. */
export type Behaviour =
  | { readonly kind: 'message' }
  /** A message of `events` server-sent events, one each `paceMs`. */
  | { readonly kind: 'stream'; readonly events: number; readonly paceMs: number }
  /** A stream of at least `bytes`, as fast as the reader reads. */
  | { readonly kind: 'flood'; readonly bytes: number }
  /** A rate limit that lifts after nine minutes: whoever can queue, queues. */
  | { readonly kind: 'refusal' }
  /** No answer at all. */
  | { readonly kind: 'silence' }

const MODEL = 'claude-sonnet-4-5'
const USAGE = { input_tokens: 500, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }

const MESSAGE = Buffer.from(
  JSON.stringify({
    id: 'msg_01XFDUDYJgAACzvnptvVoYEL',
    type: 'message',
    role: 'assistant',
    model: MODEL,
    content: [{ type: 'text', text: 'The gate opens when there is water. '.repeat(20) }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { ...USAGE, output_tokens: 200, service_tier: 'standard' },
  }),
)

const STREAM_HEAD = [
  event('message_start', {
    message: {
      id: 'msg_01XFDUDYJgAACzvnptvVoYEL',
      type: 'message',
      role: 'assistant',
      model: MODEL,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { ...USAGE, output_tokens: 1 },
    },
  }),
  event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
]
const STREAM_TAIL = Buffer.concat([
  event('content_block_stop', { index: 0 }),
  event('message_delta', {
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: { output_tokens: 200 },
  }),
  event('message_stop', {}),
])
const REFUSAL = JSON.stringify({
  type: 'error',
  error: { type: 'rate_limit_error', message: 'Number of requests has exceeded your rate limit.' },
})
const DELTA = delta('water ')
const FLOOD = Buffer.concat(Array.from({ length: 64 }, () => delta('water '.repeat(160))))

/** Limits that never bind: 4 million requests and 100 thousand million tokens a minute. */
const LIMITS = { requests: 4e6, 'input-tokens': 1e11, 'output-tokens': 1e10, tokens: 1.1e11 }

let behaviour: Behaviour = { kind: 'message' }
process.on('message', (next: Behaviour) => {
  behaviour = next
})
process.on('disconnect', () => process.exit())

const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => answer(response))
})
server.keepAliveTimeout = 600_000
server.requestTimeout = 0
await once(server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }), 'listening')
const address = server.address()
process.send?.(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`)

function answer(response: ServerResponse): void {
  if (behaviour.kind === 'silence') return
  if (behaviour.kind === 'refusal') {
    const headers = { 'content-type': 'application/json', 'retry-after': '540' }
    response.writeHead(429, headers).end(REFUSAL)
    return
  }
  if (behaviour.kind === 'message') {
    const headers = { ...commonHeaders(), 'content-length': MESSAGE.length }
    response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end(MESSAGE)
    return
  }
  response.writeHead(200, { ...commonHeaders(), 'content-type': 'text/event-stream' })
  for (const part of STREAM_HEAD) response.write(part)
  if (behaviour.kind === 'stream') pace(response, behaviour.events, behaviour.paceMs)
  else flood(response, behaviour.bytes)
}

function pace(response: ServerResponse, events: number, paceMs: number): void {
  let left = events
  const timer = setInterval(() => {
    if (left-- > 0) {
      response.write(DELTA)
      return
    }
    clearInterval(timer)
    response.end(STREAM_TAIL)
  }, paceMs)
  response.on('close', () => clearInterval(timer))
}

function flood(response: ServerResponse, bytes: number): void {
  let left = bytes
  const pour = (): void => {
    while (left > 0) {
      left -= FLOOD.length
      if (!response.write(FLOOD)) return
    }
    response.end(STREAM_TAIL)
    response.off('drain', pour)
  }
  response.on('drain', pour)
  pour()
}

function commonHeaders(): Record<string, string> {
  const resetsAt = new Date(Date.now() + 1000).toISOString().replace(/\.\d+/, '')
  const headers: Record<string, string> = {
    'request-id': 'req_018EeWyXxfu5pfWkrYcMdjWG',
    'anthropic-organization-id': '8f0c2c5e-35c1-4d0a-9f51-0d7c1f3b8a11',
  }
  for (const [name, amount] of Object.entries(LIMITS)) {
    headers[`anthropic-ratelimit-${name}-limit`] = `${amount}`
    headers[`anthropic-ratelimit-${name}-remaining`] = `${Math.floor(amount * 0.999)}`
    headers[`anthropic-ratelimit-${name}-reset`] = resetsAt
  }
  return headers
}

function delta(text: string): Buffer {
  return event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
}

function event(type: string, fields: object): Buffer {
  return Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`)
}
