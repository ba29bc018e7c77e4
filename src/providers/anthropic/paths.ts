// Anthropic's paths: which pool of limits each draws on, and how its body is treated.
// Must not know: what a body says. Sizes: Anthropic's API overview, "Request size limits".
import { headerText } from '../headers.ts'
import type { Headers, Operation } from '../provider.ts'
import { parseRequestPath, type RequestPath } from '../request-path.ts'

const MESSAGES_BYTES = 32 * 1024 * 1024
const BATCH_BYTES = 256 * 1024 * 1024
const FILE_BYTES = 500 * 1024 * 1024

/** OpenAI's, whatever headers come with them. */
const OPENAI_PATH = /^\/v1\/(?:chat\/|responses|completions|embeddings)/

/** The operation that a request means to Anthropic, or null when the path is not Anthropic's. */
export function matchPath(method: string, target: string, headers: Headers): Operation | null {
  const path = parseRequestPath(target)
  if (!path) return null
  const pathname = withVersion(path.pathname)
  const kind = kindOf(method, pathname, headers)
  return kind && { ...kind, upstreamPath: pathname + path.query }
}

/** Some clients have the `/v1` in their base URL and leave it out here. */
function withVersion(pathname: RequestPath['pathname']): string {
  return /^\/messages(?:\/|$)/.test(pathname) ? `/v1${pathname}` : pathname
}

type Kind = Omit<Operation, 'upstreamPath'>

const READ = { body: 'read', maxBodyBytes: MESSAGES_BYTES } as const
const MODEL: Kind = { pool: 'model', ...READ, isHarmless: false }
const COUNT: Kind = { pool: 'count_tokens', ...READ, isHarmless: true }

/** Reading runs nothing, and neither does storing a file, deleting, or cancelling a batch. */
const HARMLESS_METHODS = new Set(['GET', 'HEAD', 'DELETE'])
const HARMLESS_POSTS = /^\/v1\/(?:files|messages\/batches\/[\w-]+\/cancel)$/

function kindOf(method: string, pathname: string, headers: Headers): Kind | null {
  if (method === 'POST' && (pathname === '/v1/messages' || pathname === '/v1/complete'))
    return MODEL
  if (method === 'POST' && pathname === '/v1/messages/count_tokens') return COUNT
  const body = method === 'GET' || method === 'HEAD' ? 'none' : 'stream'
  const isHarmless = HARMLESS_METHODS.has(method) || HARMLESS_POSTS.test(pathname)
  if (/^\/v1\/messages\/batches(?:\/|$)/.test(pathname)) {
    return { pool: 'batches', body, maxBodyBytes: BATCH_BYTES, isHarmless }
  }
  // Its answer is the request itself, keys and all.
  if (method === 'TRACE' || !isOthers(method, pathname, headers)) return null
  const maxBodyBytes = pathname.startsWith('/v1/files') ? FILE_BYTES : MESSAGES_BYTES
  return { pool: 'other', body, maxBodyBytes, isHarmless }
}

/** Anthropic's calls that are no inference; `/v1/models` and more have a namesake at OpenAI. */
function isOthers(method: string, pathname: string, headers: Headers): boolean {
  if (pathname === '/api/hello') return method === 'GET' || method === 'HEAD'
  if (/^\/v1\/(?:messages|complete|organizations)(?:\/|$)/.test(pathname)) return true
  const isVersioned = pathname.startsWith('/v1/') && !OPENAI_PATH.test(pathname)
  return isVersioned && headerText(headers, 'anthropic-version') !== null
}
