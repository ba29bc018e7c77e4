// What keys open, second version of the tables in Postgres. Owns: the column, and the functions that
// write and read it. Must not know: what a scope is.

/** @param s the schema's name, quoted */
export const keyScopes = (s: string): string => `
-- Null: the usual.
alter table ${s}.keys add column scopes text[];

-- The former one stays beside it: gateways of the former version may still be running.
create function ${s}.add_key(sha256 text, its_id text, user_name text, team text, tier text,
  scopes text[], created_at bigint, expires_at bigint, revoked_at bigint)
returns boolean language plpgsql as $$
begin
  perform ${s}.change_registry();
  if exists (select from ${s}.keys as key where ${s}.is_in_force(key, its_id, add_key.created_at)) then
    return ${s}.undo_change();
  end if;
  insert into ${s}.keys
    (sha256, id, user_name, team, tier, scopes, created_at, expires_at, revoked_at)
  values (add_key.sha256, its_id, add_key.user_name, add_key.team, add_key.tier, add_key.scopes,
    add_key.created_at, add_key.expires_at, add_key.revoked_at);
  return true;
end $$;

create or replace function ${s}.read_registry() returns jsonb language sql stable as $$
  select jsonb_build_object(
    'revision', (select revision from ${s}.registry),
    'keys', (select coalesce(jsonb_agg(jsonb_build_object('sha256', sha256, 'id', id, 'user', user_name,
        'team', team, 'tier', tier, 'scopes', scopes, 'createdAt', created_at, 'expiresAt', expires_at,
        'revokedAt', revoked_at) order by created_at, id, sha256), '[]')
      from ${s}.keys),
    'overrides', (select coalesce(jsonb_agg(jsonb_build_object('subject', subject, 'amount', amount,
        'period', jsonb_build_object('unit', unit, 'timeZone', time_zone)) order by subject), '[]')
      from ${s}.overrides))
$$;
`
