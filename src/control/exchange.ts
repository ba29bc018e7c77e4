// One request for JSON and its answer. Owns: reading a small body, and writing documents and problems.
// Must not know: leases' rules, or which path was asked.
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { z } from 'zod'
import { type LeaseRefusal, statusOf } from '../dispatch/lease-refusals.ts'
import { invalidInput, PROBLEM_TYPE, type Problem, problem } from './problem.ts'

const LARGEST_BODY_BYTES = 64 * 1024

export type Read<T> =
  | { readonly kind: 'read'; readonly value: T }
  | { readonly kind: 'wrong'; readonly problem: Problem }
  /** Nobody is there to answer. */
  | { readonly kind: 'gone' }

/** A body that is not there stands for an empty object. */
export async function readJson<T extends z.ZodType>(
  request: IncomingMessage,
  schema: T,
): Promise<Read<z.output<T>>> {
  const body = await readText(request)
  if (body === null) return { kind: 'gone' }
  if (body === 'too large')
    return wrong(problem(413, `A body has ${LARGEST_BODY_BYTES / 1024} KiB at most.`))
  const isJson = /^application\/json *(?:;|$)/i.test(request.headers['content-type'] ?? '')
  if (body.length > 0 && !isJson)
    return wrong(problem(415, 'Send JSON: content-type: application/json.'))
  const parsed = parse(body.toString('utf8') || '{}')
  if (parsed === undefined) return wrong(problem(400, 'The body is not JSON.'))
  const read = schema.safeParse(parsed)
  if (read.success) return { kind: 'read', value: read.data }
  return wrong({ ...invalidInput(read.error), reason: 'invalid' })
}

const wrong = (document: Problem): { kind: 'wrong'; problem: Problem } => ({
  kind: 'wrong',
  problem: { reason: 'invalid', ...document },
})

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readText(request: IncomingMessage): Promise<Buffer | 'too large' | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes <= LARGEST_BODY_BYTES) return
      // The rest is not waited for: the answer goes now, and the connection with it.
      request.pause()
      resolve('too large')
    })
    request.once('end', () => resolve(Buffer.concat(chunks, bytes)))
    request.once('close', () => resolve(null))
  })
}

export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  write(response, status, document, { 'content-type': 'application/json', ...headers })
}

export function sendProblem(response: ServerResponse, document: Problem): void {
  const { status, retryAfterMs } = document
  const headers: Record<string, string> = { 'content-type': PROBLEM_TYPE }
  if (status === 413) headers.connection = 'close'
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="headgate"'
  if (retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(retryAfterMs / 1000))
  write(response, status, document, headers)
}

function write(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  const text = JSON.stringify(document)
  const length = Buffer.byteLength(text)
  response.writeHead(status, { 'cache-control': 'no-store', 'content-length': length, ...headers })
  response.end(text)
}

export function problemOf({ reason, message, retryAfterMs, field }: LeaseRefusal): Problem {
  const status = statusOf(reason)
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Refused',
    status,
    detail: message,
    ...(field !== undefined && { errors: [{ field, detail: message }] }),
    reason,
    ...(retryAfterMs !== null && { retryAfterMs: Math.ceil(retryAfterMs) }),
  }
}
