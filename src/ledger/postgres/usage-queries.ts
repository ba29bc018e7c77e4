// Questions about usage. Owns: their SQL: one for each way to ask, so that each goes by its own index.
// Must not know: what is done with the answers.
import type { QueryConfig } from 'pg'
import type { EpochMs } from '../../core/clock.ts'
import type { SubjectName, UsageQuery } from '../ledger.ts'

/** Behind which event a page ends: pages go by instant, then by the order of writing. */
export interface EventPlace {
  readonly at: EpochMs
  readonly place: number
}

export interface PageQuery extends UsageQuery {
  readonly after: EventPlace | null
  readonly most: number
}

const TOTAL = `select jsonb_build_object(
  'cost', coalesce(sum(cost), 0),
  'requests', count(*) filter (where is_end),
  'unpriced', count(*) filter (where cost is null),
  'tokens', jsonb_build_object(
    'inputTokens', coalesce(sum(input_tokens), 0),
    'cacheReadTokens', coalesce(sum(cache_read_tokens), 0),
    'cacheWriteTokens', coalesce(sum(cache_write_tokens), 0),
    'cacheWriteHourTokens', coalesce(sum(cache_write_hour_tokens), 0),
    'outputTokens', coalesce(sum(output_tokens), 0))) as answer`

/** @param s the schema's name, quoted */
export function totalQuery(s: string, { subject, from, to }: UsageQuery): QueryConfig {
  const { condition, names } = whose(subject, 3)
  return {
    text: `${TOTAL} from ${s}.events where at >= $1 and at < $2 ${condition}`,
    values: [from, to, ...names],
  }
}

export function pageQuery(s: string, { subject, from, to, after, most }: PageQuery): QueryConfig {
  const { condition, names } = whose(subject, 5)
  return {
    text: `select coalesce(jsonb_agg(jsonb_build_object('event', ${s}.event_as_json(event),
        'place', page.place) order by page.at, page.place), '[]') as answer
      from (
        select * from ${s}.events
        where at >= $1 and at < $2 and (at, place) > ($1, $3) ${condition}
        order by at, place limit $4
      ) as page, lateral (select (page.*)::${s}.events as event) as row`,
    values: [after?.at ?? from, to, after?.place ?? 0, most, ...names],
  }
}

function whose(subject: SubjectName | undefined, parameter: number) {
  if (subject === undefined) return { condition: '', names: [] }
  const column = subject.startsWith('user:') ? 'user_name' : 'team'
  const name = subject.slice(subject.indexOf(':') + 1)
  return { condition: `and ${column} = $${parameter}`, names: [name] }
}
