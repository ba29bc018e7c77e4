// A request of `fetch`, made ready to be sent. Owns: its headers, and its body in every form that `fetch`
// takes. Must not know: when it is sent.
import { Readable } from 'node:stream'
import { goesUpstream, namedByConnection } from '../dispatch/upstream-headers.ts'
import type { Operation, Headers as PlainHeaders } from '../providers/provider.ts'

/** What `fetch` takes. */
export type Input = string | URL | Request

/** The method, the headers and the signal of a request that is not made yet: its body stays untouched. */
export function headOf(input: Input, init: RequestInit | undefined) {
  const request = typeof input === 'string' || input instanceof URL ? null : input
  return {
    url: new URL(request ? request.url : input.toString()),
    method: (init?.method ?? request?.method ?? 'GET').toUpperCase(),
    headers: plain(new Headers(init?.headers ?? request?.headers)),
    signal: (init?.signal === undefined ? request?.signal : init.signal) ?? null,
  }
}

function plain(headers: Headers): Readonly<Record<string, string>> {
  return Object.fromEntries(headers)
}

/** The headers that go to the provider, names and values in turn. */
export function forwardedHeaders(headers: PlainHeaders): readonly string[] {
  const named = namedByConnection(headers)
  // A compressed answer would hide its usage.
  const forwarded = ['accept-encoding', 'identity']
  for (const [name, value] of Object.entries(headers))
    if (
      value !== undefined &&
      name !== 'content-length' &&
      goesUpstream(name, String(value), named)
    )
      forwarded.push(name, String(value))
  return forwarded
}

export type BodyRead =
  | { readonly kind: 'body'; readonly body: Buffer | Readable | null }
  | { readonly kind: 'too_large' }

/**
 * The body, whole where it is described or is in memory already, as a stream otherwise.
 *
 * @throws whatever a stream of the caller's throws, and the signal's reason once it is aborted
 */
export async function bodyOf(
  { body: source }: Request,
  { body: treatment, maxBodyBytes }: Operation,
  isInMemory: boolean,
  signal: AbortSignal | null,
): Promise<BodyRead> {
  if (source === null) return { kind: 'body', body: null }
  // Whoever answers the call ends a stream that passes (FetchCaller), for whatever reason nobody wants it.
  if (treatment !== 'read' && !isInMemory) return { kind: 'body', body: Readable.fromWeb(source) }
  const readable = Readable.fromWeb(source, signal ? { signal } : {})
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of readable) {
      bytes += chunk.length
      if (bytes > maxBodyBytes) return { kind: 'too_large' }
      chunks.push(chunk)
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
  return { kind: 'body', body: Buffer.concat(chunks, bytes) }
}

/** Whether the whole of it is there before anything is read. */
export function isInMemory(body: RequestInit['body']): boolean {
  return (
    typeof body === 'string' ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof URLSearchParams
  )
}
