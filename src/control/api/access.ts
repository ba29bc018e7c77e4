// Who may administer. Owns: that decision. Must not know: what is administered.
import { createHash, timingSafeEqual } from 'node:crypto'
import { problem, type Refusal } from '../problem.ts'

interface Credentials {
  readonly authorization: string | undefined
  /** Browsers send it when a page of some site asks: no page administers with a token. */
  readonly origin: string | undefined
}

/** Null: they may. @param token - Null: none is configured. */
export function refusalOf(
  { authorization, origin }: Credentials,
  token: string | null,
): Refusal | null {
  if (origin !== undefined) return problem(403, 'Pages in a browser may not administer.')
  if (token === null) {
    const what = 'Nobody may administer: set admin.token in the configuration first.'
    return problem(403, what)
  }
  const [, sent = ''] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? []
  return isToken(sent, token)
    ? null
    : problem(401, 'Send the administrator’s token: Authorization: Bearer TOKEN.')
}

/** Whether it is the token, in a time that tells nothing of how much is right. */
export function isToken(one: string, other: string): boolean {
  return timingSafeEqual(digest(one), digest(other))
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
