// The least that a Node proxy can do, and so the measure of every other: node:http in, undici's
// `dispatch` out, original bytes both ways, an answer no faster than its reader. Must not know: limits.
// Usage: node bench/peers/pass-through.ts UPSTREAM_URL
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Dispatcher, Pool } from 'undici'

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'host', 'transfer-encoding', 'upgrade'])

const upstream = new Pool(process.argv[2] ?? '', { headersTimeout: 0, bodyTimeout: 0 })

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
    upstream.dispatch(outgoing(request, body ?? null), answering(response))
  })
})

function outgoing(request: IncomingMessage, body: Buffer | null): Dispatcher.DispatchOptions {
  return {
    path: request.url ?? '/',
    method: request.method ?? 'GET',
    headers: endToEnd(request.rawHeaders),
    body,
  }
}

function answering(response: ServerResponse): Dispatcher.DispatchHandler {
  let resume = (): void => {}
  response.on('drain', () => resume())
  return {
    onRequestStart(controller) {
      resume = () => controller.resume()
      response.on('close', () => controller.abort(new Error('the caller has gone')))
    },
    onResponseStart(controller, status) {
      const headers = Array.isArray(controller.rawHeaders) ? controller.rawHeaders : []
      response.writeHead(status, endToEnd(headers.map(text)))
    },
    onResponseData(controller, chunk) {
      if (!response.write(chunk)) controller.pause()
    },
    onResponseEnd: () => response.end(),
    onResponseError: () => response.destroy(),
  }
}

function endToEnd(rawHeaders: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, rawHeaders[at + 1] ?? '')
  }
  return kept
}

function text(part: Buffer | string): string {
  return typeof part === 'string' ? part : part.toString('latin1')
}

await once(server.listen(0, '127.0.0.1'), 'listening')
const address = server.address()
process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`)
