// How events and warnings are shown and told, as functions inside Postgres. Must not know: what is charged.

/** @param s the schema's name, quoted */
export const readingFunctions = (s: string): string => `
create function ${s}.event_as_json(event ${s}.events) returns jsonb language sql immutable as $$
  select jsonb_build_object(
    'call', jsonb_build_object('id', event.request_id, 'user', event.user_name, 'team', event.team,
      'key', event.key, 'tier', event.tier, 'provider', event.provider, 'model', event.model),
    'attempt', event.attempt, 'at', event.at, 'cost', event.cost, 'outcome', event.outcome,
    'isExact', event.is_exact, 'inputTokens', event.input_tokens,
    'cacheReadTokens', event.cache_read_tokens, 'cacheWriteTokens', event.cache_write_tokens,
    'cacheWriteHourTokens', event.cache_write_hour_tokens, 'outputTokens', event.output_tokens)
$$;

create function ${s}.untold(now bigint) returns jsonb language sql stable as $$
  select coalesce(jsonb_agg(${s}.warning(passed, its_account)
    order by its_account.start_at, its_account.subject, passed.step), '[]')
  from ${s}.warnings as passed join ${s}.accounts as its_account on its_account.id = passed.account
  where not is_told and its_account.end_at > now
$$;

create function ${s}.told(warning jsonb) returns void language plpgsql as $$
begin
  perform ${s}.begin_writing();
  update ${s}.warnings as known set is_told = true from ${s}.accounts as its_account
  where its_account.id = known.account and its_account.subject = warning ->> 'subject'
    and its_account.end_at = (warning ->> 'endAt')::bigint
    and its_account.unit = warning #>> '{period,unit}'
    and its_account.time_zone = warning #>> '{period,timeZone}'
    and known.amount = (warning ->> 'amount')::bigint
    and known.is_shadow = (warning ->> 'isShadow')::boolean
    and known.step = (warning ->> 'step')::numeric
    and known.credited = (warning ->> 'credited')::bigint;
end $$;
`
