-- Tickets, flows and holders as they are kept in the hash `records`. Owns: reading each once in an
-- operation, and writing at its end what has changed. Must not know: what they stand for.
local records = {}

local TICKET = '<BBBdddddddddddddddddHc0Hc0Hc0'
local FLOW = '<BdddddddddHc0'

-- A ticket's states.
local WAITING, PARKED, RETRYING, HELD = 1, 2, 3, 4

-- As many fields of the hash as one command may well look at.
local READ_AT_ONCE = 1000

-- Forgets what the last operation has read.
function records.begin()
  records.cached = {}
  records.changed = {}
end

local function unpack_ticket(id, packed)
  local state, lane, in_flow, weight, requests, input_tokens, output_tokens, tokens, cost, share, enqueued_at, order, granted_at, produced, retry_at, lane_since, start_tag, joined_at_turn, early_tag, holder_ttl, flow, owner, holder =
    struct.unpack(TICKET, packed)
  return {
    id = id,
    state = state,
    lane = lane,
    in_flow = in_flow == 1,
    weight = weight,
    estimate = {
      requests = requests,
      input_tokens = input_tokens,
      output_tokens = output_tokens,
      tokens = tokens,
      cost = cost,
    },
    share = share,
    enqueued_at = enqueued_at,
    order = order,
    granted_at = granted_at,
    produced = produced,
    retry_at = retry_at,
    lane_since = lane_since,
    start_tag = start_tag,
    joined_at_turn = joined_at_turn,
    early_tag = early_tag,
    holder_ttl = holder_ttl,
    flow = flow,
    owner = owner,
    holder = holder,
  }
end

local function pack_ticket(t)
  local estimate = t.estimate
  return struct.pack(
    TICKET,
    t.state,
    t.lane,
    t.in_flow and 1 or 0,
    t.weight,
    estimate.requests,
    estimate.input_tokens,
    estimate.output_tokens,
    estimate.tokens,
    estimate.cost,
    t.share,
    t.enqueued_at,
    t.order,
    t.granted_at,
    t.produced,
    t.retry_at,
    t.lane_since,
    t.start_tag,
    t.joined_at_turn,
    t.early_tag,
    t.holder_ttl,
    #t.flow,
    t.flow,
    #t.owner,
    t.owner,
    #t.holder,
    t.holder
  )
end

-- A flow remembers under which members it stands in the index: `turn_at`, `since`, `order` while it
-- has waiting turns (then `first` is the id of the next), `ahead_at` while its lead is remembered.
local function unpack_flow(lane, name, packed)
  local is_ahead, tag, turn_tag, held, waiting, waiting_share, turn_at, since, order, ahead_at, first =
    struct.unpack(FLOW, packed)
  return {
    lane = lane,
    name = name,
    is_ahead = is_ahead == 1,
    tag = tag,
    turn_tag = turn_tag,
    held = held,
    waiting = waiting,
    waiting_share = waiting_share,
    turn_at = turn_at,
    since = since,
    order = order,
    ahead_at = ahead_at,
    first = first,
  }
end

local function pack_flow(f)
  return struct.pack(
    FLOW,
    f.is_ahead and 1 or 0,
    f.tag,
    f.turn_tag,
    f.held,
    f.waiting,
    f.waiting_share,
    f.turn_at,
    f.since,
    f.order,
    f.ahead_at,
    #f.first,
    f.first
  )
end

-- A holder: until when it is believed to live, how many of its tickets wait, how many are leases, and
-- the one that came last.
local function unpack_holder(id, packed)
  local expires_at, waiting, held, newest = struct.unpack('<dddHc0', packed)
  return { id = id, expires_at = expires_at, waiting = waiting, held = held, newest = newest }
end

local function pack_holder(holder)
  return struct.pack('<dddHc0', holder.expires_at, holder.waiting, holder.held, #holder.newest, holder.newest)
end

-- Reads what a newcomer meets in one call: its ticket if it is here already, its flow, its holder.
function records.read_ahead(id, lane, flow, holder)
  local cached = records.cached
  local of_ticket, of_flow, of_holder = 't' .. id, lane .. flow, 'h' .. holder
  -- What expired a moment ago has changed them: the hash is behind.
  if next(cached) then return end
  local found = redis.call('HMGET', key.records, of_ticket, of_flow, of_holder)
  cached[of_ticket] = found[1] and unpack_ticket(id, found[1])
  cached[of_flow] = found[2] and unpack_flow(lane, flow, found[2])
  cached[of_holder] = found[3] and unpack_holder(holder, found[3])
end

function records.ticket(id)
  local field = 't' .. id
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_ticket(id, packed)
  records.cached[field] = cached
  return cached
end

-- To be called after each change of a ticket, new ones too.
function records.ticket_changed(ticket)
  local field = 't' .. ticket.id
  records.cached[field] = ticket
  records.changed[field] = pack_ticket
end

function records.forget_ticket(ticket)
  local field = 't' .. ticket.id
  records.cached[field] = false
  records.changed[field] = false
end

-- Reads what the end of a ticket concerns in one call.
function records.read_behind(ticket)
  local cached = records.cached
  local of_flow, of_holder = ticket.lane .. ticket.flow, 'h' .. ticket.holder
  if cached[of_flow] ~= nil or cached[of_holder] ~= nil then return end
  local found = redis.call('HMGET', key.records, of_flow, of_holder)
  cached[of_flow] = found[1] and unpack_flow(ticket.lane, ticket.flow, found[1])
  cached[of_holder] = found[2] and unpack_holder(ticket.holder, found[2])
end

function records.flow(lane, name)
  local field = lane .. name
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_flow(lane, name, packed)
  records.cached[field] = cached
  return cached
end

function records.flow_changed(flow)
  local field = flow.lane .. flow.name
  records.cached[field] = flow
  records.changed[field] = pack_flow
end

function records.forget_flow(flow)
  local field = flow.lane .. flow.name
  records.cached[field] = false
  records.changed[field] = false
end

function records.holder(id)
  local field = 'h' .. id
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_holder(id, packed)
  records.cached[field] = cached
  return cached
end

function records.holder_changed(holder)
  local field = 'h' .. holder.id
  records.cached[field] = holder
  records.changed[field] = pack_holder
end

function records.forget_holder(holder)
  local field = 'h' .. holder.id
  records.cached[field] = false
  records.changed[field] = false
end

-- Any of the tickets, and no more than `most`. An operation before may have ended some of those that the
-- hash still has: what was read or changed since is newer.
function records.some_tickets(most)
  local found, cursor = {}, '0'
  local at_once = math.max(1, math.min(most, READ_AT_ONCE))
  repeat
    local page = redis.call('HSCAN', key.records, cursor, 'MATCH', 't*', 'COUNT', at_once)
    cursor = page[1]
    for position = 1, #page[2], 2 do
      if #found == most then return found end
      local field = page[2][position]
      local ticket = records.cached[field]
      if ticket == nil then ticket = unpack_ticket(string.sub(field, 2), page[2][position + 1]) end
      if ticket then found[#found + 1] = ticket end
    end
  until cursor == '0'
  return found
end

-- All tickets of a holder, in order of arrival. Few have more than one, and they are asked for when
-- something went wrong: then all records are looked through.
function records.tickets_of(holder)
  if holder.waiting + holder.held == 1 then
    local sole = records.ticket(holder.newest)
    if sole then return { sole } end
  end
  local found = {}
  local all = redis.call('HGETALL', key.records)
  for position = 1, #all, 2 do
    if string.sub(all[position], 1, 1) == 't' then
      local ticket = records.ticket(string.sub(all[position], 2))
      if ticket and ticket.holder == holder.id then found[#found + 1] = ticket end
    end
  end
  table.sort(found, function(a, b)
    return a.order < b.order
  end)
  return found
end

-- Fewer than Lua can unpack on its stack.
local WRITTEN_AT_ONCE = 2000

local function call_in_parts(command, name, values)
  for from = 1, #values, WRITTEN_AT_ONCE do
    redis.call(command, name, unpack(values, from, math.min(from + WRITTEN_AT_ONCE - 1, #values)))
  end
end

-- Without tickets nothing is worth keeping but the gate itself.
function records.write(has_tickets)
  if not has_tickets then
    redis.call('UNLINK', key.records, key.index)
    return
  end
  local set, deleted = {}, {}
  for field, pack in pairs(records.changed) do
    if pack then
      set[#set + 1] = field
      set[#set + 1] = pack(records.cached[field])
    else
      deleted[#deleted + 1] = field
    end
  end
  if #set > 0 then call_in_parts('HSET', key.records, set) end
  if #deleted > 0 then call_in_parts('HDEL', key.records, deleted) end
end
