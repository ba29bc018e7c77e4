// What is kept in Postgres, first version. Owns: tables, their keys and indexes. Must not know: what is
// done with them (accounts.sql.ts, lives.sql.ts, registry.sql.ts).

/** @param s the schema's name, quoted */
export const tables = (s: string): string => `
-- Billionths of a dollar, and only those that a double holds exactly: a sum beyond is refused.
create domain ${s}.nano_usd as bigint check (value between -9007199254740991 and 9007199254740991);

-- Who sets money aside, seen by this server's clock. A reservation whose holder is silent, or not here,
-- is charged whole.
-- Turns rise: a commit that was given up on, and arrives after a later one, is refused.
create table ${s}.holders (
  id text collate "C" primary key,
  seen_at float8 not null,
  turn bigint not null
) with (fillfactor = 50);

-- Instants are whole milliseconds since 1970.
create table ${s}.accounts (
  id bigint generated always as identity primary key,
  subject text collate "C" not null,
  unit text not null,
  time_zone text not null,
  start_at bigint not null,
  end_at bigint not null,
  spent ${s}.nano_usd not null,
  reserved ${s}.nano_usd not null default 0 check (reserved >= 0),
  credited ${s}.nano_usd not null default 0,
  unique (subject, end_at, unit, time_zone)
) with (fillfactor = 50);

create table ${s}.reservations (
  id text collate "C" primary key,
  holder text collate "C" not null,
  at bigint not null,
  amount ${s}.nano_usd not null check (amount >= 0),
  -- As columns of an event.
  call jsonb not null,
  -- Each budget with its period and the number of its account.
  budgets jsonb not null
);
create index reservations_by_holder on ${s}.reservations (holder);

-- Which budgets requests named that were charged as lost, and not corrected since.
create table ${s}.losses (
  id text collate "C" primary key,
  budgets jsonb not null
);

create sequence ${s}.event_places;
create table ${s}.events (
  -- In the order of writing.
  place bigint not null,
  request_id text collate "C" not null,
  attempt integer not null,
  at bigint not null,
  user_name text collate "C",
  team text collate "C",
  key text,
  tier text,
  provider text not null,
  model text,
  cost ${s}.nano_usd,
  outcome text not null,
  is_exact boolean not null,
  -- Whether a request has ended with it; not so where it was sent again, and of a correction.
  is_end boolean not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  cache_write_hour_tokens bigint not null,
  output_tokens bigint not null,
  primary key (request_id, attempt)
);
create index events_by_at on ${s}.events (at, place);
create index events_by_user on ${s}.events (user_name, at, place) where user_name is not null;
create index events_by_team on ${s}.events (team, at, place) where team is not null;

create function ${s}.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'usage events are appended, never changed';
end $$;
create trigger events_are_appended before update or delete or truncate on ${s}.events
  for each statement execute function ${s}.refuse_change();

create table ${s}.warnings (
  account bigint not null references ${s}.accounts,
  amount ${s}.nano_usd not null,
  is_shadow boolean not null,
  step numeric not null,
  spent ${s}.nano_usd not null,
  credited ${s}.nano_usd not null,
  is_told boolean not null default false,
  primary key (account, amount, is_shadow, step)
);
create index warnings_untold on ${s}.warnings (account) where not is_told;

create table ${s}.keys (
  sha256 text primary key,
  id text collate "C" not null,
  user_name text,
  team text,
  tier text,
  created_at bigint not null,
  expires_at bigint,
  revoked_at bigint
);
create index keys_by_id on ${s}.keys (id);

create table ${s}.overrides (
  subject text collate "C" primary key,
  amount ${s}.nano_usd not null,
  unit text not null,
  time_zone text not null
);

create table ${s}.registry (revision bigint not null);
insert into ${s}.registry values (0);
`
