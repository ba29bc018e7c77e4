// What administrators write: subjects, budgets and instants. Owns: how each is read, saying what is
// wrong in a clause that begins with a verb. Must not know: what happens then.
import { z } from 'zod'
import type { EpochMs } from '../core/clock.ts'
import { parseBudget } from '../policy/units.ts'
import * as values from '../policy/values.ts'

const NOT_A_SUBJECT = 'is not a subject, write user:NAME or team:NAME'

/** `user:alice` or `team:research`. */
export const subjectName = z
  .templateLiteral([z.enum(['user', 'team']), ':', z.string()], { error: NOT_A_SUBJECT })
  .refine((subject) => values.isName(subject.slice('user:'.length)), { error: NOT_A_SUBJECT })

const NOT_AN_INSTANT = 'is not an instant, write one such as 2026-11-01 or 2026-11-01T12:00:00Z'

/** A date, which stands for its beginning in UTC, or a date and a time with its offset. */
export const instant = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], { error: NOT_AN_INSTANT })
  .transform((text): EpochMs => Date.parse(text))

/** The first instant of the present month in UTC. */
export function startOfMonth(now: EpochMs): EpochMs {
  const date = new Date(now)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth())
}

/** A budget such as `50 USD/month`. */
export const budget = z
  .string({ error: 'is missing, write one such as 50 USD/month' })
  .transform((text, context) => {
    const read = parseBudget(text)
    if (read.kind === 'parsed') return read.value
    context.issues.push({ code: 'custom', message: read.why, input: text })
    return z.NEVER
  })
