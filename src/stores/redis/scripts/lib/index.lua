-- The orders that things stand in, all in one sorted set whose scores are 0, so that its members are
-- ordered by their bytes. Owns: how a member is built, found and taken apart.
--
--   B lane turn since order flow          flows with waiting turns: whose turn is next
--   A lane tag flow                       flows without, whose lead is remembered
--   F lane #flow flow since order early id   the tickets of a flow, the oldest first
--   G lane since order joined id          the tickets of a lane, the oldest first
--   E enqueued order id                   all tickets that wait, the oldest first
--   R retry_at order id                   tickets whose back-off is not over
--   X expires_at holder                   holders, the next to expire first
--
-- An instant, a tag or an order is eight bytes, big-endian: of doubles that are not negative, the
-- greater one has the greater bytes. The first of these is below 0x80, so 0xff is above all members.
-- @module
local index = {}

local function sortable(x)
  -- The sum makes a plain zero of a negative one, whose sign would sort it last.
  return struct.pack('>d', x > 0 and x or 0)
end

local function named(name)
  return struct.pack('>H', #name) .. name
end

function index.add(...)
  redis.call('ZADD', key.index, ...)
end

function index.remove(...)
  redis.call('ZREM', key.index, ...)
end

-- The first member that begins so, or nil.
function index.first(prefix)
  return redis.call('ZRANGEBYLEX', key.index, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
end

-- How many members that begin so come up to and including one.
function index.rank(prefix, member)
  return redis.call('ZLEXCOUNT', key.index, '[' .. prefix, '[' .. member)
end

function index.turn(flow)
  return 'B' .. flow.lane .. sortable(flow.turn_at) .. sortable(flow.since) .. sortable(flow.order) .. flow.name
end

function index.lead(flow)
  return 'A' .. flow.lane .. sortable(flow.ahead_at) .. flow.name
end

function index.of_flow(lane, name)
  return 'F' .. lane .. named(name)
end

function index.in_flow(t)
  return 'F' .. t.lane .. named(t.flow) .. sortable(t.lane_since) .. sortable(t.order) .. sortable(t.early_tag) .. t.id
end

-- What `in_flow` says of a ticket: since, order, early tag, id.
function index.read_in_flow(member, prefix)
  local since, order, early, pos = struct.unpack('>ddd', member, #prefix + 1)
  return since, order, early, string.sub(member, pos)
end

function index.in_lane(t)
  return 'G' .. t.lane .. sortable(t.lane_since) .. sortable(t.order) .. sortable(t.joined_at_turn) .. t.id
end

-- What `in_lane` says of a ticket: since, joined at turn, id.
function index.read_in_lane(member)
  local since, _, joined, pos = struct.unpack('>ddd', member, 3)
  return since, joined, string.sub(member, pos)
end

function index.by_arrival(t)
  return 'E' .. sortable(t.enqueued_at) .. sortable(t.order) .. t.id
end

function index.by_retry(t)
  return 'R' .. sortable(t.retry_at) .. sortable(t.order) .. t.id
end

-- What `by_arrival` and `by_retry` say of a ticket: its id, and the instant.
function index.read_timed(member)
  local at, _, pos = struct.unpack('>dd', member, 2)
  return string.sub(member, pos), at
end

function index.expiry(holder)
  return 'X' .. sortable(holder.expires_at) .. holder.id
end

-- What `expiry` says of a holder: its id.
function index.read_expiry(member)
  return string.sub(member, 10)
end
