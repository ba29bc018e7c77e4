// A request's life in the ledger, as functions inside Postgres, so that a commit is one round trip. Owns:
// reserving, settling, releasing, and what becomes of holders that died. Must not know: how a period is
// computed (budgets come with theirs), or what is retried.
import { CORRECTED_ATTEMPTS, LOST_ATTEMPT } from '../backend.ts'

/** @param s the schema's name, quoted */
export const lifeFunctions = (s: string): string => `
-- For this transaction only, since a pooler may give the connection to others after it.
create function ${s}.begin_writing() returns void language plpgsql as $$
begin
  if current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  perform set_config('lock_timeout', '1500', true);
end $$;

-- In milliseconds since 1970. Signs of life are told by this clock alone: gateways' own may differ.
create function ${s}.now_ms() returns float8 language sql volatile as $$
  select extract(epoch from clock_timestamp())::float8 * 1000
$$;

create function ${s}.commit(holder text, turn bigint, operations jsonb) returns jsonb
language plpgsql as $$
declare
  operation jsonb;
  answers jsonb[] := '{}';
begin
  perform ${s}.begin_writing();
  perform ${s}.take_turn(holder, turn);
  perform ${s}.lock_subjects(${s}.subjects_of(operations));
  for operation in select value from jsonb_array_elements(operations) loop
    answers := array_append(answers, case operation ->> 'kind'
      when 'reserve' then ${s}.reserve(holder, operation)
      when 'settle' then ${s}.settle(operation)
      when 'release' then ${s}.release(operation)
      when 'record' then ${s}.record(operation)
    end);
  end loop;
  return to_jsonb(answers);
end $$;

-- A commit is a sign of life: otherwise a holder that was taken for dead meanwhile would lose what it sets
-- aside now at anybody's next beat.
create function ${s}.take_turn(holder text, its_turn bigint) returns void language plpgsql as $$
begin
  insert into ${s}.holders as known (id, seen_at, turn) values (holder, ${s}.now_ms(), its_turn)
  on conflict (id) do update set turn = excluded.turn, seen_at = excluded.seen_at
  where known.turn < excluded.turn;
  if not found then
    raise exception 'a later commit of this holder has come first' using errcode = 'HG001';
  end if;
end $$;

create function ${s}.subjects_of_reservation(reservation ${s}.reservations) returns text[]
language sql immutable as $$
  select array(select dated #>> '{budget,subject}' from jsonb_array_elements(reservation.budgets) as dated)
    || array['user:' || (reservation.call ->> 'user_name'), 'team:' || (reservation.call ->> 'team')]
$$;

create function ${s}.subjects_of(operations jsonb) returns text[] language sql stable as $$
  select array(
    select unnest(array['user:' || (operation #>> '{call,user_name}'), 'team:' || (operation #>> '{call,team}')])
    from jsonb_array_elements(operations) as operation
    union
    select dated #>> '{budget,subject}'
    from jsonb_array_elements(operations) as operation, jsonb_array_elements(operation -> 'budgets') as dated
    union
    select unnest(${s}.subjects_of_reservation(reservation))
    from jsonb_array_elements(operations) as operation
    join ${s}.reservations as reservation on reservation.id = operation ->> 'id'
    union
    select unnest(array['user:' || event.user_name, 'team:' || event.team])
    from jsonb_array_elements(operations) as operation
    join ${s}.events as event on event.request_id = operation ->> 'id'
    where operation ->> 'kind' = 'release'
  )
$$;

create function ${s}.reserve(holder text, operation jsonb) returns jsonb language plpgsql as $$
declare
  wanted bigint := (operation ->> 'amount')::bigint;
  dated jsonb;
  account ${s}.accounts;
  held jsonb := (select budgets from ${s}.reservations where id = operation ->> 'id');
  refusing jsonb;
  warnings jsonb := '[]';
begin
  if held is not null then
    return ${s}.reserved(held, warnings);
  end if;
  if exists (select from ${s}.events where request_id = operation ->> 'id') then
    return ${s}.reserved(operation -> 'budgets', warnings);
  end if;
  held := '[]';
  for dated in select value from jsonb_array_elements(operation -> 'budgets') loop
    account := ${s}.open_account(dated);
    held := held || jsonb_build_array(dated || jsonb_build_object('account', account.id));
    continue when wanted <=
      (dated #>> '{budget,amount}')::bigint + account.credited - account.spent - account.reserved;
    warnings := warnings || ${s}.warn_full(dated -> 'budget', account);
    if refusing is null and not (dated #>> '{budget,isShadow}')::boolean then
      refusing := ${s}.balance(dated, account);
    end if;
  end loop;
  if refusing is not null then
    return jsonb_build_object('kind', 'over_budget', 'balance', refusing, 'warnings', warnings);
  end if;
  if (operation ->> 'isBrief')::boolean then
    return ${s}.reserved(held, warnings);
  end if;
  insert into ${s}.reservations (id, holder, at, amount, call, budgets)
  values (operation ->> 'id', holder, (operation ->> 'at')::bigint, wanted, operation -> 'call', held);
  perform ${s}.set_aside(held, wanted);
  return ${s}.reserved(held, warnings);
end $$;

create function ${s}.reserved(dated_budgets jsonb, warnings jsonb) returns jsonb
language plpgsql stable as $$
begin
  return jsonb_build_object(
    'kind', 'reserved', 'balances', ${s}.balances(dated_budgets), 'warnings', warnings);
end $$;

-- The reservation that was, or a row of nulls.
create function ${s}.close_reservation(its_id text) returns ${s}.reservations language plpgsql as $$
declare
  held ${s}.reservations;
begin
  delete from ${s}.reservations where id = its_id returning * into held;
  if found then
    perform ${s}.set_aside(held.budgets, -held.amount);
  end if;
  return held;
end $$;

create function ${s}.settle(operation jsonb) returns jsonb language plpgsql as $$
declare
  event ${s}.events := jsonb_populate_record(null::${s}.events, (operation -> 'call') || (operation -> 'event'));
  held ${s}.reservations := ${s}.close_reservation(event.request_id);
  is_new boolean;
begin
  if held.id is null then
    return ${s}.settle_late(event);
  end if;
  event.at := held.at;
  is_new := ${s}.append(event);
  return jsonb_build_object(
    'isNew', is_new,
    'balances', ${s}.balances(held.budgets),
    'warnings', case when is_new then ${s}.warn(held.budgets) else '[]' end);
end $$;

-- No reservation is open: it was never written, settled before, or charged as lost.
create function ${s}.settle_late(event ${s}.events) returns jsonb language plpgsql as $$
declare
  lost ${s}.events := ${s}.uncorrected_loss(event.request_id);
  dated_budgets jsonb := '[]';
  is_new boolean;
begin
  if lost.request_id is not null then
    event.attempt := event.attempt + ${CORRECTED_ATTEMPTS};
    event.at := lost.at;
    event.cost := coalesce(event.cost, 0) - lost.cost;
    event.outcome := 'corrected';
    event.is_end := false;
    dated_budgets := ${s}.forget_loss(event.request_id);
  end if;
  is_new := ${s}.append(event);
  return jsonb_build_object(
    'isNew', is_new, 'balances', '[]'::jsonb, 'warnings', ${s}.warn(dated_budgets));
end $$;

-- The budgets that it bound.
create function ${s}.forget_loss(its_id text) returns jsonb language plpgsql as $$
declare
  dated_budgets jsonb;
begin
  delete from ${s}.losses where id = its_id returning budgets into dated_budgets;
  return coalesce(dated_budgets, '[]');
end $$;

create function ${s}.uncorrected_loss(its_id text) returns ${s}.events language plpgsql stable as $$
declare
  lost ${s}.events;
begin
  select * into lost from ${s}.events where request_id = its_id and attempt = ${LOST_ATTEMPT}
    and not exists (
      select from ${s}.events where request_id = its_id and attempt >= ${CORRECTED_ATTEMPTS});
  return lost;
end $$;

create function ${s}.release(operation jsonb) returns jsonb language plpgsql as $$
declare
  held ${s}.reservations := ${s}.close_reservation(operation ->> 'id');
  lost ${s}.events := ${s}.uncorrected_loss(operation ->> 'id');
begin
  if held.id is null and lost.request_id is not null then
    lost.attempt := ${CORRECTED_ATTEMPTS};
    lost.cost := -lost.cost;
    lost.outcome := 'corrected';
    lost.is_exact := true;
    lost.is_end := false;
    perform ${s}.forget_loss(lost.request_id);
    perform ${s}.append(lost);
  end if;
  return null;
end $$;

create function ${s}.record(operation jsonb) returns jsonb language plpgsql as $$
declare
  event ${s}.events := jsonb_populate_record(null::${s}.events, (operation -> 'call') || (operation -> 'event'));
  held ${s}.reservations;
  dated_budgets jsonb;
  warnings jsonb := '[]';
begin
  select * into held from ${s}.reservations where id = event.request_id;
  event.at := coalesce(held.at, event.at);
  dated_budgets := coalesce(held.budgets, (select budgets from ${s}.losses where id = event.request_id), '[]');
  if ${s}.append(event) then
    warnings := ${s}.warn(dated_budgets);
  end if;
  return jsonb_build_object('kind', 'recorded', 'warnings', warnings);
end $$;

-- A sign from the future is none: the clock was set back after it. A holder that is committing now isn't
-- dead, and isn't waited for: its row is locked.
create function ${s}.beat(holder text, life_ms float8) returns jsonb language plpgsql as $$
declare
  now constant float8 := ${s}.now_ms();
  dead text[];
  doomed ${s}.reservations;
  requests bigint := 0;
  cost numeric := 0;
  dated_budgets jsonb := '[]';
begin
  perform ${s}.begin_writing();
  insert into ${s}.holders (id, seen_at, turn) values (holder, now, 0)
  on conflict (id) do update set seen_at = excluded.seen_at;
  dead := array(
    select id from ${s}.holders where abs(seen_at - now) > life_ms and id <> holder
    order by id for update skip locked);
  perform ${s}.lock_subjects(array(
    select unnest(${s}.subjects_of_reservation(reservation)) from ${s}.orphans(dead) as reservation));
  for doomed in select * from ${s}.orphans(dead) loop
    perform ${s}.charge_lost(doomed);
    requests := requests + 1;
    cost := cost + doomed.amount;
    dated_budgets := dated_budgets || doomed.budgets;
  end loop;
  delete from ${s}.holders where id = any(dead);
  return jsonb_build_object(
    'requests', requests, 'cost', cost, 'warnings', ${s}.warn(dated_budgets));
end $$;

-- What it still has set aside is nobody's from now on.
create function ${s}.leave(holder text) returns void language plpgsql as $$
begin
  perform ${s}.begin_writing();
  delete from ${s}.holders where id = holder;
end $$;

create function ${s}.orphans(dead text[]) returns setof ${s}.reservations language sql stable as $$
  select * from ${s}.reservations as reservation
  where holder = any(dead)
    or not exists (select from ${s}.holders where id = reservation.holder)
  order by id
$$;

create function ${s}.charge_lost(doomed ${s}.reservations) returns void language plpgsql as $$
begin
  perform ${s}.close_reservation(doomed.id);
  if doomed.budgets <> '[]' then
    insert into ${s}.losses values (doomed.id, doomed.budgets) on conflict do nothing;
  end if;
  perform ${s}.append(jsonb_populate_record(null::${s}.events, doomed.call || jsonb_build_object(
    'attempt', ${LOST_ATTEMPT}, 'at', doomed.at, 'cost', doomed.amount, 'outcome', 'lost',
    'is_exact', false, 'is_end', true, 'input_tokens', 0, 'cache_read_tokens', 0,
    'cache_write_tokens', 0, 'cache_write_hour_tokens', 0, 'output_tokens', 0)));
end $$;
`
