// Which conversation a request belongs to, and whose it is. Must not know: what fairness makes of it.
import { z } from 'zod'
import { headerText } from '../headers.ts'
import type { Headers } from '../provider.ts'

/** Longer names are nobody's: what is kept per session must stay small. */
const MOST_SESSION_CHARACTERS = 128

/** Since Claude Code 2.1.78 the user id is a JSON text. */
const packedUserId = z.object({
  session_id: z.string().optional(),
  account_uuid: z.string().optional(),
  device_id: z.string().optional(),
})

/** Before that it was `user_<hex>_account_<uuid>_session_<uuid>`. */
const JOINED_USER_ID = /_session_([\w-]+)$/

/** The session that a request names in Claude Code's header or in `metadata.user_id`, or null. */
export function sessionOf(headers: Headers, userId: string | null): string | null {
  const session = headerText(headers, 'x-claude-code-session-id') ?? sessionIn(userId ?? '')
  return session !== null && session.length <= MOST_SESSION_CHARACTERS ? session : null
}

/** Whom a request is made for: what of `metadata.user_id` stays the same from session to session. */
export function userOf(userId: string | null): string | null {
  if (userId === null || userId === '') return null
  const packed = unpacked(userId)
  const user = packed
    ? packed.account_uuid || packed.device_id || null
    : userId.replace(JOINED_USER_ID, '')
  return user || null
}

function sessionIn(userId: string): string | null {
  const packed = unpacked(userId)
  return packed ? (packed.session_id ?? null) : (JOINED_USER_ID.exec(userId)?.[1] ?? null)
}

function unpacked(userId: string): z.infer<typeof packedUserId> | null {
  if (!userId.startsWith('{')) return null
  try {
    return packedUserId.safeParse(JSON.parse(userId)).data ?? null
  } catch {
    return null
  }
}
