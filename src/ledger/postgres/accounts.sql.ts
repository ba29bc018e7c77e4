// Accounts and the events that they are the sums of, as functions inside Postgres. Owns: that what an
// account has spent is the sum of its subject's events in its period. Must not know: requests' lives
// (lives.sql.ts).
//
// Whoever opens an account or appends an event holds the locks of its subjects: without them an account
// could begin with a sum that misses an event whose transaction is still under way.
import { CORRECTED_ATTEMPTS, FULL_STEP } from '../backend.ts'

/** @param s the schema's name, quoted */
export const accountFunctions = (s: string): string => `
-- In one order, so that no two wait for each other. Few: the server has room for some thousand in all.
create function ${s}.lock_subjects(subjects text[]) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtext('headgate ledger ${s}'), places.place)
  from (
    select distinct hashtext(subject) & 255 as place from unnest(subjects) as subject
    where subject is not null order by place
  ) as places;
end $$;

create function ${s}.spent_by(subject text, from_at bigint, to_at bigint) returns numeric
language plpgsql stable as $$
begin
  if subject like 'user:%' then
    return (select coalesce(sum(cost), 0) from ${s}.events
      where user_name = substr(subject, 6) and at >= from_at and at < to_at);
  end if;
  return (select coalesce(sum(cost), 0) from ${s}.events
    where team = substr(subject, 6) and at >= from_at and at < to_at);
end $$;

-- An account as it is, or as it would be if it were opened now. A dated budget: {budget, startAt, endAt}.
create function ${s}.account_of(dated jsonb) returns ${s}.accounts language plpgsql stable as $$
declare
  found_account ${s}.accounts;
begin
  select * into found_account from ${s}.accounts
  where subject = dated #>> '{budget,subject}'
    and end_at = (dated ->> 'endAt')::bigint
    and unit = dated #>> '{budget,period,unit}'
    and time_zone = dated #>> '{budget,period,timeZone}';
  if found then
    return found_account;
  end if;
  found_account.subject := dated #>> '{budget,subject}';
  found_account.unit := dated #>> '{budget,period,unit}';
  found_account.time_zone := dated #>> '{budget,period,timeZone}';
  found_account.start_at := (dated ->> 'startAt')::bigint;
  found_account.end_at := (dated ->> 'endAt')::bigint;
  found_account.spent :=
    ${s}.spent_by(found_account.subject, found_account.start_at, found_account.end_at);
  found_account.reserved := 0;
  found_account.credited := 0;
  return found_account;
end $$;

create function ${s}.open_account(dated jsonb) returns ${s}.accounts language plpgsql as $$
declare
  account ${s}.accounts := ${s}.account_of(dated);
begin
  if account.id is null then
    insert into ${s}.accounts (subject, unit, time_zone, start_at, end_at, spent)
    values (account.subject, account.unit, account.time_zone, account.start_at, account.end_at,
      account.spent)
    returning id into account.id;
  end if;
  return account;
end $$;

create function ${s}.balance(dated jsonb, account ${s}.accounts) returns jsonb
language plpgsql immutable as $$
begin
  return dated || jsonb_build_object(
    'spent', account.spent, 'reserved', account.reserved, 'credited', account.credited);
end $$;

-- In the order of the budgets.
create function ${s}.balances(dated_budgets jsonb) returns jsonb language plpgsql stable as $$
declare
  dated jsonb;
  found_balances jsonb := '[]';
begin
  for dated in select value from jsonb_array_elements(dated_budgets) loop
    found_balances := found_balances
      || jsonb_build_array(${s}.balance(dated, ${s}.account_of(dated)));
  end loop;
  return found_balances;
end $$;

-- Once where budgets share an account; with a negative amount it is given back.
create function ${s}.set_aside(dated_budgets jsonb, more bigint) returns void language plpgsql as $$
begin
  update ${s}.accounts set reserved = reserved + more
  where id = any(array(
    select (value ->> 'account')::bigint from jsonb_array_elements(dated_budgets)));
end $$;

-- False when it is there already, or as a correction.
create function ${s}.append(event ${s}.events) returns boolean language plpgsql as $$
begin
  if exists (select from ${s}.events
    where request_id = event.request_id and attempt = event.attempt + ${CORRECTED_ATTEMPTS})
  then
    return false;
  end if;
  event.place := nextval('${s}.event_places');
  insert into ${s}.events select (event).* on conflict (request_id, attempt) do nothing;
  if not found then
    return false;
  end if;
  if event.cost <> 0 then
    update ${s}.accounts set spent = spent + event.cost
    where subject in ('user:' || event.user_name, 'team:' || event.team)
      and start_at <= event.at and end_at > event.at;
  end if;
  return true;
end $$;

create function ${s}.warning(passed ${s}.warnings, account ${s}.accounts) returns jsonb
language sql immutable as $$
  select jsonb_build_object('subject', account.subject,
    'period', jsonb_build_object('unit', account.unit, 'timeZone', account.time_zone),
    'startAt', account.start_at, 'endAt', account.end_at, 'step', passed.step, 'amount', passed.amount,
    'spent', passed.spent, 'credited', passed.credited, 'isShadow', passed.is_shadow)
$$;

-- The steps that dated budgets, with the numbers of their accounts, have passed and had not before.
create function ${s}.warn(dated_budgets jsonb) returns jsonb language plpgsql as $$
declare
  dated jsonb;
  step numeric;
  account ${s}.accounts;
  told jsonb := '[]';
begin
  for dated in select value from jsonb_array_elements(dated_budgets) loop
    select * into account from ${s}.accounts where id = (dated ->> 'account')::bigint;
    for step in select value::numeric from jsonb_array_elements_text(dated #> '{budget,warnAt}') loop
      if (account.spent - account.credited) * 100.0 >= step * (dated #>> '{budget,amount}')::bigint then
        told := told || ${s}.warn_of_step(dated -> 'budget', step, account);
      end if;
    end loop;
  end loop;
  return told;
end $$;

-- As warn, for a budget that had no room for a request.
create function ${s}.warn_full(budget jsonb, account ${s}.accounts) returns jsonb
language plpgsql as $$
begin
  if budget -> 'warnAt' @> '${FULL_STEP}' then
    return ${s}.warn_of_step(budget, ${FULL_STEP}, account);
  end if;
  return '[]';
end $$;

-- An array of one warning; of none where it is there already.
create function ${s}.warn_of_step(budget jsonb, its_step numeric, its_account ${s}.accounts)
returns jsonb language plpgsql as $$
declare
  passed ${s}.warnings;
begin
  insert into ${s}.warnings (account, amount, is_shadow, step, spent, credited)
  values (its_account.id, (budget ->> 'amount')::bigint, (budget ->> 'isShadow')::boolean, its_step,
    its_account.spent - its_account.credited, its_account.credited)
  on conflict do nothing returning * into passed;
  if not found then
    return '[]';
  end if;
  return jsonb_build_array(${s}.warning(passed, its_account));
end $$;

create function ${s}.reset(dated_budgets jsonb) returns jsonb language plpgsql as $$
declare
  dated jsonb;
  opened ${s}.accounts;
begin
  perform ${s}.begin_writing();
  perform ${s}.lock_subjects(array(
    select each #>> '{budget,subject}' from jsonb_array_elements(dated_budgets) as each));
  for dated in select value from jsonb_array_elements(dated_budgets) loop
    opened := ${s}.open_account(dated);
    update ${s}.accounts set credited = spent where id = opened.id;
    delete from ${s}.warnings where account = opened.id;
  end loop;
  return ${s}.balances(dated_budgets);
end $$;
`
