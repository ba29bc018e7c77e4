// Reads a request's body: whole, bounded, unpacked, checked. Must not know: what it asks for.
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { z } from 'zod'
import type { ApiError } from './api-error.ts'

const unzip = promisify(gunzip)

/** Of every endpoint that has no bound of its own. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

type Read<T> =
  | { readonly kind: 'read'; readonly value: T }
  | { readonly kind: 'failed'; readonly error: ApiError }

export interface JsonBody<T> {
  readonly text: string
  readonly value: T
}

/** The body as JSON of a shape. Rejects only when the client goes away. */
export async function readJson<T>(
  request: IncomingMessage,
  shape: z.ZodType<T>,
  maxBytes = MAX_BODY_BYTES,
): Promise<Read<JsonBody<T>>> {
  const body = await readBytes(request, maxBytes)
  if (body.kind === 'failed') return body
  const text = body.value.toString('utf8')
  const json = parseJson(text)
  if (json.kind === 'failed') return json
  const parsed = shape.safeParse(json.value)
  if (parsed.success) return { kind: 'read', value: { text, value: parsed.data } }
  return failed('invalid_request_error', describeIssues(parsed.error))
}

async function readBytes(request: IncomingMessage, maxBytes: number): Promise<Read<Buffer>> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length
    if (size > maxBytes) return TOO_LARGE
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return { kind: 'read', value: bytes }
  if (encoding === 'gzip') return unpack(bytes, maxBytes)
  return failed(
    'invalid_request_error',
    'Unsupported content-encoding of the request body.',
    'request_body_encoding_unsupported',
  )
}

const TOO_LARGE = failed('request_too_large', 'Request exceeds the maximum size')

async function unpack(bytes: Buffer, maxBytes: number): Promise<Read<Buffer>> {
  try {
    return { kind: 'read', value: await unzip(bytes, { maxOutputLength: maxBytes }) }
  } catch (cause) {
    const isTooLarge = cause instanceof RangeError
    return isTooLarge
      ? failed(
          'request_too_large',
          'Request exceeds the maximum size after decoding',
          'request_body_too_large_after_decoding',
        )
      : failed(
          'invalid_request_error',
          'The request body is not valid gzip.',
          'request_body_encoding_invalid',
        )
  }
}

function parseJson(text: string): Read<unknown> {
  try {
    return { kind: 'read', value: JSON.parse(text) }
  } catch {
    return failed('invalid_request_error', 'The request body is not valid JSON.')
  }
}

function failed(type: ApiError['type'], message: string, errorCode?: string) {
  const error: ApiError = errorCode === undefined ? { type, message } : { type, message, errorCode }
  return { kind: 'failed', error } as const
}

/** `messages.0.role: Field required`, as the provider words it. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .map(({ path, code, input, message }) => {
      const isMissing = code === 'invalid_type' && input === undefined
      return `${path.join('.')}: ${isMissing ? 'Field required' : message}`
    })
    .join('; ')
}
