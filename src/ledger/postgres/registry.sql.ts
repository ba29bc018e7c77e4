// Keys and budgets that administrators changed, as functions inside Postgres. Owns: that each change
// counts the revision up, once. Must not know: what keys open.

/** @param s the schema's name, quoted */
export const registryFunctions = (s: string): string => `
create function ${s}.is_in_force(key ${s}.keys, its_id text, at bigint) returns boolean
language sql immutable as $$
  select key.id = its_id and key.revoked_at is null and (key.expires_at is null or key.expires_at > at)
$$;

-- One change at a time: the others wait here.
create function ${s}.change_registry() returns void language plpgsql as $$
begin
  perform ${s}.begin_writing();
  update ${s}.registry set revision = revision + 1;
end $$;

create function ${s}.undo_change() returns boolean language plpgsql as $$
begin
  update ${s}.registry set revision = revision - 1;
  return false;
end $$;

-- False when the name is taken.
create function ${s}.add_key(sha256 text, its_id text, user_name text, team text, tier text,
  created_at bigint, expires_at bigint, revoked_at bigint)
returns boolean language plpgsql as $$
begin
  perform ${s}.change_registry();
  if exists (select from ${s}.keys as key where ${s}.is_in_force(key, its_id, add_key.created_at)) then
    return ${s}.undo_change();
  end if;
  insert into ${s}.keys
  values (sha256, its_id, user_name, team, tier, created_at, expires_at, revoked_at);
  return true;
end $$;

create function ${s}.revoke_key(its_id text, at bigint) returns boolean language plpgsql as $$
begin
  perform ${s}.change_registry();
  update ${s}.keys as key set revoked_at = at where ${s}.is_in_force(key, its_id, at);
  return found or ${s}.undo_change();
end $$;

create function ${s}.rotate_key(its_id text, next_sha256 text, at bigint, others_expire_at bigint)
returns boolean language plpgsql as $$
declare
  successor ${s}.keys;
begin
  perform ${s}.change_registry();
  select * into successor from ${s}.keys as key where ${s}.is_in_force(key, its_id, at)
  order by created_at desc limit 1;
  if not found then
    return ${s}.undo_change();
  end if;
  update ${s}.keys as key set expires_at = least(expires_at, others_expire_at)
  where ${s}.is_in_force(key, its_id, at);
  successor.sha256 := next_sha256;
  successor.created_at := at;
  insert into ${s}.keys select (successor).*;
  return true;
end $$;

create function ${s}.set_override(its_subject text, amount bigint, unit text, time_zone text)
returns boolean language plpgsql as $$
begin
  perform ${s}.change_registry();
  insert into ${s}.overrides values (its_subject, amount, unit, time_zone)
  on conflict (subject) do update
  set amount = excluded.amount, unit = excluded.unit, time_zone = excluded.time_zone;
  return true;
end $$;

create function ${s}.remove_override(its_subject text) returns boolean language plpgsql as $$
begin
  perform ${s}.change_registry();
  delete from ${s}.overrides where subject = its_subject;
  return found or ${s}.undo_change();
end $$;

create function ${s}.read_registry() returns jsonb language sql stable as $$
  select jsonb_build_object(
    'revision', (select revision from ${s}.registry),
    'keys', (select coalesce(jsonb_agg(jsonb_build_object('sha256', sha256, 'id', id, 'user', user_name,
        'team', team, 'tier', tier, 'createdAt', created_at, 'expiresAt', expires_at,
        'revokedAt', revoked_at) order by created_at, id, sha256), '[]')
      from ${s}.keys),
    'overrides', (select coalesce(jsonb_agg(jsonb_build_object('subject', subject, 'amount', amount,
        'period', jsonb_build_object('unit', unit, 'timeZone', time_zone)) order by subject), '[]')
      from ${s}.overrides))
$$;
`
