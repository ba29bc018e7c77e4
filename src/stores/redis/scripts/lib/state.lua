-- The state of one gate between two operations. Owns: what is kept of it in the key `state`, reading
-- it once, writing it once. Must not know: what any of it decides.
--
-- All numbers are doubles, packed: `struct` reads ten of them in the time of half a redis.call.
-- @include clock
-- @include limits
-- @include records
-- @key state       the gate: settings in force, meters, lanes, counters
-- @key records     hash of tickets, flows and holders
-- @key index       sorted set, all scores 0: the orders that tickets and flows stand in
-- @key departures  sorted set: what left when, for limits that are learnt
-- @arg resource text    the resource's name
-- @arg instance text    the process that asks
-- @arg revision number  when its configuration was made: the newest one is in force
-- @arg settings text    the configuration as JSON, or nothing while the gate is thought to know it
local NEVER = math.huge
local LAYOUT = 1
local HEAD = '<BBBBddddddddddddddddddddHc0Hc0Hc0'
local LANE = '<dddddddddd'

-- Beyond what is needed, so that a resource in steady use is not made anew at each turn.
local KEPT_IDLE_MS = 5000
-- What was learnt of a provider's limits is worth keeping for so long without news.
local LEARNT_IS_KEPT_MS = 3600000
-- Tickets whose processes have all died are forgotten, unless another process comes by before.
local TICKETS_ARE_KEPT_MS = 7200000
local REFRESH_EXPIRY_EVERY_MS = 600000

local RETRY_BURST = 10
local RETRIES_PER_MINUTE = 20

-- The gate that the operation is about, as read or begun by `state.open`.
local gate
local state = {}

local function new_retry_budget(now)
  return meters.new({
    algorithm = 'token_bucket',
    dimension = 'requests',
    amount = RETRIES_PER_MINUTE,
    window_ms = 60000,
    burst = RETRY_BURST,
    source = 'configured',
  }, now)
end

-- A lane that was never used. It is one for all gates, and never written to: see `state.lane`.
local UNUSED_LANE = {
  virtual_time = 0,
  last_turn = 0,
  backlogged = 0,
  ahead = 0,
  tickets = 0,
  requests = 0,
  input_tokens = 0,
  output_tokens = 0,
  tokens = 0,
  cost = 0,
}

-- What waits in a lane, and nothing.
function state.no_backlog()
  return { tickets = 0, requests = 0, input_tokens = 0, output_tokens = 0, tokens = 0, cost = 0 }
end

-- A lane that is about to be used.
function state.lane(index)
  local lane = gate.lanes[index]
  if lane ~= UNUSED_LANE then return lane end
  lane = {}
  for name, value in pairs(UNUSED_LANE) do
    lane[name] = value
  end
  gate.lanes[index] = lane
  return lane
end

function state.begin(now)
  gate.revision = 0
  gate.aging_ms = NEVER
  gate.max_queued = NEVER
  gate.skew = 0
  gate.now = now
  gate.life = string.format('%.0f', now * 1000) .. '-' .. arg.instance
  gate.merged_into = ''
  gate.arrivals = 0
  gate.turns = 0
  gate.held = 0
  gate.tickets = 0
  gate.retrying = 0
  gate.paused_until = -NEVER
  gate.refused_in_a_row = 0
  gate.known_since = NEVER
  gate.refused_at = -NEVER
  gate.next_at = NEVER
  gate.next_expiry_at = NEVER
  gate.alarm_at = -NEVER
  gate.alarm_owner = ''
  gate.expiry_set_at = -NEVER
  gate.bound_kind = 0
  gate.bound_index = 0
  gate.retry_level = RETRY_BURST
  gate.retry_at = now
  gate.lanes = { [0] = UNUSED_LANE, UNUSED_LANE, UNUSED_LANE, UNUSED_LANE }
end

local function read_lane(blob, pos)
  local virtual_time, last_turn, backlogged, ahead, tickets, requests, input_tokens, output_tokens, tokens, cost, after =
    struct.unpack(LANE, blob, pos)
  return {
    virtual_time = virtual_time,
    last_turn = last_turn,
    backlogged = backlogged,
    ahead = ahead,
    tickets = tickets,
    requests = requests,
    input_tokens = input_tokens,
    output_tokens = output_tokens,
    tokens = tokens,
    cost = cost,
  },
    after
end

local function read_lanes(blob, mask, pos)
  local lanes = { [0] = UNUSED_LANE, UNUSED_LANE, UNUSED_LANE, UNUSED_LANE }
  for index = 0, 3 do
    if mask % 2 == 1 then
      lanes[index], pos = read_lane(blob, pos)
    end
    mask = math.floor(mask / 2)
  end
  return lanes, pos
end

-- A table that is made whole is made much faster than one that grows.
local function read_gate(blob)
  local _, bound_kind, bound_index, mask, revision, aging_ms, max_queued, now, skew, arrivals, turns, held, tickets, retrying, paused_until, refused_in_a_row, known_since, refused_at, next_at, next_expiry_at, alarm_at, expiry_set_at, retry_level, retry_at, life, alarm_owner, merged_into, pos =
    struct.unpack(HEAD, blob)
  local lanes
  lanes, pos = read_lanes(blob, mask, pos)
  gate = {
    resource = arg.resource,
    grants = {},
    bound_kind = bound_kind,
    bound_index = bound_index,
    revision = revision,
    aging_ms = aging_ms,
    max_queued = max_queued,
    now = now,
    skew = skew,
    arrivals = arrivals,
    turns = turns,
    held = held,
    tickets = tickets,
    retrying = retrying,
    paused_until = paused_until,
    refused_in_a_row = refused_in_a_row,
    known_since = known_since,
    refused_at = refused_at,
    next_at = next_at,
    next_expiry_at = next_expiry_at,
    alarm_at = alarm_at,
    expiry_set_at = expiry_set_at,
    retry_level = retry_level,
    retry_at = retry_at,
    life = life,
    alarm_owner = alarm_owner,
    blob = blob,
    retry_budget = false,
    merged_into = merged_into,
    lanes = lanes,
    had_no_tickets = tickets == 0,
    is_changed = false,
    -- These are `limits.read`'s to fill.
    learns = false,
    floor_soft = 0,
    floor_hard = 0,
    meters = false,
    learnt_at = 0,
    slow_until = 0,
    slowed_by = 0,
    ramp = false,
    overload = false,
    underway = false,
  }
  limits.read(gate, blob, pos)
end

-- Few operations ask for it, so it is made when it is asked for. It only gives back what it has just
-- taken, so its level is all that is kept of it.
function state.retry_budget()
  if not gate.retry_budget then
    local bucket = new_retry_budget(gate.now)
    bucket.level, bucket.at = gate.retry_level, gate.retry_at
    gate.retry_budget = bucket
  end
  return gate.retry_budget
end

local function keep_retry_budget()
  local bucket = gate.retry_budget
  if not bucket then return end
  gate.retry_level, gate.retry_at = bucket.level, bucket.at
end

local function write_lanes()
  local written, mask = '', 0
  for index = 3, 0, -1 do
    local lane = gate.lanes[index]
    mask = mask * 2
    if lane ~= UNUSED_LANE then
      mask = mask + 1
      written = struct.pack(
        LANE,
        lane.virtual_time,
        lane.last_turn,
        lane.backlogged,
        lane.ahead,
        lane.tickets,
        lane.requests,
        lane.input_tokens,
        lane.output_tokens,
        lane.tokens,
        lane.cost
      ) .. written
    end
  end
  return written, mask
end

-- How long the gate must be remembered when nobody asks for it any more.
local function kept_ms()
  if gate.tickets > 0 then return TICKETS_ARE_KEPT_MS end
  local kept = math.max(
    limits.idle_in_ms(gate),
    gate.paused_until - gate.now,
    overload.idle_in_ms(gate),
    (RETRY_BURST - gate.retry_level) * 60000 / RETRIES_PER_MINUTE
  )
  if gate.learns then kept = math.max(kept, gate.learnt_at + LEARNT_IS_KEPT_MS - gate.now) end
  return math.max(kept, 0) + KEPT_IDLE_MS
end

-- Gates as they were written last, by key: a library keeps them from call to call, and then the same
-- bytes need not be read again. A gate that is being changed is not among them, in case of an error.
local remembered, how_many = {}, 0
local MOST_REMEMBERED = 256

local function remember(blob)
  how_many = how_many + 1
  if how_many > MOST_REMEMBERED then
    remembered, how_many = {}, 1
  end
  gate.blob = blob
  remembered[key.state] = gate
end

function state.write()
  keep_retry_budget()
  local is_new = gate.tickets > 0
    and (gate.had_no_tickets or gate.now - gate.expiry_set_at > REFRESH_EXPIRY_EVERY_MS)
  if is_new then
    gate.expiry_set_at = gate.now
    redis.call('PEXPIRE', key.records, TICKETS_ARE_KEPT_MS)
    redis.call('PEXPIRE', key.index, TICKETS_ARE_KEPT_MS)
  end
  -- Asked before the meters are written: it lets them know the time.
  local expiry = (is_new or gate.tickets == 0) and math.ceil(kept_ms())
  local lanes, mask = write_lanes()
  local blob = struct.pack(
    HEAD,
    LAYOUT,
    gate.bound_kind,
    gate.bound_index,
    mask,
    gate.revision,
    gate.aging_ms,
    gate.max_queued,
    gate.now,
    gate.skew,
    gate.arrivals,
    gate.turns,
    gate.held,
    gate.tickets,
    gate.retrying,
    gate.paused_until,
    gate.refused_in_a_row,
    gate.known_since,
    gate.refused_at,
    gate.next_at,
    gate.next_expiry_at,
    gate.alarm_at,
    gate.expiry_set_at,
    gate.retry_level,
    gate.retry_at,
    #gate.life,
    gate.life,
    #gate.alarm_owner,
    gate.alarm_owner,
    #gate.merged_into,
    gate.merged_into
  ) .. lanes .. limits.write(gate)
  if expiry then
    redis.call('SET', key.state, blob, 'PX', expiry)
  else
    redis.call('SET', key.state, blob, 'KEEPTTL')
  end
  remember(blob)
end

-- The server's clock may be set back, and a replica's may lag: the gate's own never goes back.
local function tell_time(time)
  local now = time + gate.skew
  if now < gate.now then gate.skew = gate.skew + gate.now - now end
  gate.now = math.max(now, gate.now)
end

local function configure()
  local settings = cjson.decode(arg.settings)
  if gate.revision > arg.revision then
    limits.extend(gate, settings)
    return
  end
  gate.aging_ms = settings.aging_ms or NEVER
  gate.max_queued = settings.max_queued or NEVER
  gate.revision = arg.revision
  limits.configure(gate, settings, gate.now)
end

-- Reads the gate. Nil when there is none, else whether it can go on.
local function read()
  local blob = redis.call('GET', key.state)
  local last = remembered[key.state]
  if last then
    remembered[key.state] = nil
    how_many = how_many - 1
  end
  if not blob then return nil end
  if string.byte(blob) ~= LAYOUT then
    error('the gate of ' .. arg.resource .. ' was written by another version of Headgate')
  end
  if last and last.blob == blob then
    gate = last
    gate.grants = {}
    gate.is_changed = false
    gate.had_no_tickets = gate.tickets == 0
  else
    read_gate(blob)
  end
  return gate.merged_into == ''
end

-- Reads the gate, or begins it where `begins` says so. Returns the answer to give at once when the
-- operation can't go on.
function state.open(begins)
  records.begin()
  local is_there = read()
  if is_there == false then return { 'merged', gate.merged_into } end
  if is_there then
    tell_time(server_now())
    if gate.revision >= arg.revision and not limits.needs_calendar(gate) then return nil end
  elseif begins then
    gate = { resource = arg.resource, grants = {}, had_no_tickets = true }
    state.begin(server_now())
    -- What is left of a gate whose state was lost means nothing.
    redis.call('UNLINK', key.records, key.index, key.departures)
  else
    return { 'none' }
  end
  if arg.settings == '' then return { 'settings', string.format('%.17g', gate.now) } end
  configure()
  return nil
end
