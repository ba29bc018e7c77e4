-- Leases whose answers have not ended, and what left when. Owns: how much of what was reserved a
-- provider's statement cannot have counted. Mirrors src/core/{underway,departures}.ts. Must not know:
-- statements, limits, the line. `gate.underway` is there while the gate learns, and only then.
--
-- The log of departures is the sorted set `key.departures`: the score is the instant, the member a
-- number in sequence (so that those of one instant keep their order) and the sums of all departures up
-- to and including this one.
-- @module
local underway = {}

-- Enough for the statements of a minute at a thousand requests a minute, and bounded for any rate.
local REMEMBERED = 2048
-- No statement is older than an hour. The log is kept a little longer, so that not each record needs
-- to see to that.
local LOG_KEPT_MS = 3660000
local KEEP_EVERY_MS = 60000
local HOUR_MS = 3600000

local TOTALS = '<ddddd'
local RECORD = '<dddddddddddddddddddd'

local function nothing()
  return { requests = 0, input_tokens = 0, output_tokens = 0, tokens = 0, cost = 0 }
end

local function add_cost(sum, cost, sign)
  sum.requests = sum.requests + cost.requests * sign
  sum.input_tokens = sum.input_tokens + cost.input_tokens * sign
  sum.output_tokens = sum.output_tokens + cost.output_tokens * sign
  sum.tokens = sum.tokens + cost.tokens * sign
  sum.cost = sum.cost + cost.cost * sign
end

local function read_totals(member)
  local totals = {}
  totals.requests, totals.input_tokens, totals.output_tokens, totals.tokens, totals.cost =
    struct.unpack(TOTALS, member, 9)
  return totals
end

-- Begins to count. The log that a gate before may have left is dropped at the first record.
function underway.begin(gate)
  local unconfirmed = nothing()
  unconfirmed.tickets = 0
  gate.underway = {
    unconfirmed = unconfirmed,
    output_to_come = 0,
    departures = { count = 0, sequence = 0, kept_at = -math.huge, total = nothing(), forgotten = nothing() },
  }
end

-- Sees to it that the log is there for an hour from now. One that has not been kept for so long is gone.
local function keep_log(departures, now)
  if now - departures.kept_at > HOUR_MS then
    redis.call('UNLINK', key.departures)
    departures.count = 0
    departures.forgotten = nothing()
    add_cost(departures.forgotten, departures.total, 1)
  end
  departures.kept_at = now
end

local function forget_half(departures)
  local last = redis.call('ZRANGE', key.departures, REMEMBERED - 1, REMEMBERED - 1)[1]
  -- Only a server that is short of memory has lost them before.
  departures.forgotten = last and read_totals(last) or departures.total
  departures.count = departures.count - REMEMBERED
  redis.call('ZREMRANGEBYRANK', key.departures, 0, REMEMBERED - 1)
end

local function record(gate, cost, sign)
  local departures, now = gate.underway.departures, gate.now
  local is_to_be_kept = now - departures.kept_at > KEEP_EVERY_MS
  if is_to_be_kept then keep_log(departures, now) end
  local total = departures.total
  add_cost(total, cost, sign)
  departures.sequence = departures.sequence + 1
  departures.count = departures.count + 1
  local member = struct.pack('>I8', departures.sequence)
    .. struct.pack(TOTALS, total.requests, total.input_tokens, total.output_tokens, total.tokens, total.cost)
  redis.call('ZADD', key.departures, now, member)
  if is_to_be_kept then redis.call('PEXPIRE', key.departures, LOG_KEPT_MS) end
  if departures.count >= 2 * REMEMBERED then forget_half(departures) end
end

local function count(gate, ticket, sign)
  local u, estimate, produced = gate.underway, ticket.estimate, ticket.produced
  local to_come = estimate.output_tokens - math.max(produced, 0)
  u.output_to_come = u.output_to_come + sign * math.max(0, to_come)
  if produced >= 0 then return end
  u.unconfirmed.tickets = u.unconfirmed.tickets + sign
  add_cost(u.unconfirmed, estimate, sign)
end

function underway.depart(gate, ticket)
  record(gate, ticket.estimate, 1)
  count(gate, ticket, 1)
end

-- A lease was given back unsent, at the instant at which it was given.
function underway.undo_departure(gate, ticket)
  record(gate, ticket.estimate, -1)
end

-- Counts what a lease has reserved and produced, as they are now.
function underway.add(gate, ticket)
  count(gate, ticket, 1)
end

-- To be called with the same figures as the last `add`: before they change, or at the end.
function underway.remove(gate, ticket)
  count(gate, ticket, -1)
end

-- Reserved by leases that left after the instant `at`: a statement made then has not counted it.
function underway.since(gate, dimension, at)
  local u = gate.underway
  if dimension == 'output_tokens' then return u.output_to_come end
  local departures = u.departures
  -- The log is not begun, or it is gone: all in it left long ago.
  if gate.now - departures.kept_at > HOUR_MS then return 0 end
  local last = redis.call('ZREVRANGEBYSCORE', key.departures, at, '-inf', 'LIMIT', 0, 1)[1]
  local before = last and read_totals(last) or departures.forgotten
  return departures.total[dimension] - before[dimension]
end

-- Reserved by leases that no answer has confirmed: some or none of it is counted, or less.
function underway.unconfirmed(gate, dimension)
  if dimension == 'output_tokens' then return gate.underway.output_to_come end
  return gate.underway.unconfirmed[dimension]
end

function underway.write(gate)
  local u = gate.underway
  local open, log = u.unconfirmed, u.departures
  local total, forgotten = log.total, log.forgotten
  return struct.pack(
    RECORD,
    open.tickets,
    open.requests,
    open.input_tokens,
    open.output_tokens,
    open.tokens,
    open.cost,
    u.output_to_come,
    log.count,
    log.sequence,
    log.kept_at,
    total.requests,
    total.input_tokens,
    total.output_tokens,
    total.tokens,
    total.cost,
    forgotten.requests,
    forgotten.input_tokens,
    forgotten.output_tokens,
    forgotten.tokens,
    forgotten.cost
  )
end

function underway.read(gate, blob, pos)
  local open, total, forgotten = {}, {}, {}
  local log = { total = total, forgotten = forgotten }
  local u = { unconfirmed = open, departures = log }
  open.tickets, open.requests, open.input_tokens, open.output_tokens, open.tokens, open.cost, u.output_to_come, log.count, log.sequence, log.kept_at, total.requests, total.input_tokens, total.output_tokens, total.tokens, total.cost, forgotten.requests, forgotten.input_tokens, forgotten.output_tokens, forgotten.tokens, forgotten.cost, pos =
    struct.unpack(RECORD, blob, pos)
  gate.underway = u
  return pos
end
