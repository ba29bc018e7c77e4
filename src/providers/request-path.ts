// A request's target, taken apart with suspicion. Owns: which paths may be sent upstream at all.
// Must not know: any provider's paths.

export interface RequestPath {
  readonly pathname: string
  /** With its question mark, or empty. */
  readonly query: string
}

const PATHNAME = /^\/[\w\-.~!$&'()*+,;=:@%/]*$/
const QUERY = /^(?:\?[!$-~]*)?$/

/** Ways to say "elsewhere": an empty or dotted segment, and separators and dots in disguise. */
const ESCAPES = /\/\/|\/\.{1,2}(?:\/|$)|%2e|%2f|%5c|%00/i

/**
 * Null for whatever is not plainly a path below the upstream's own origin: absolute-form targets,
 * `//host`, dot segments, their encoded forms, and characters that no URL may hold.
 */
export function parseRequestPath(target: string): RequestPath | null {
  const queryAt = target.indexOf('?')
  const pathname = queryAt === -1 ? target : target.slice(0, queryAt)
  const query = queryAt === -1 ? '' : target.slice(queryAt)
  if (!PATHNAME.test(pathname) || ESCAPES.test(pathname) || !QUERY.test(query)) return null
  return { pathname, query }
}
