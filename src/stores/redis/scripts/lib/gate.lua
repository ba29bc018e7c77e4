-- The gate of one resource: who passes, and when. Owns: tickets, leases, holders and the order of
-- checks. Mirrors src/core/gate.ts, where the reasons are.
--
-- An operation opens the gate, does its part, and closes it, which pumps: whoever may pass has passed.
-- @include fair-queue
-- @include learnt-limit
-- @include underway
-- @include ramp
-- @include overload
-- @answer status ('ok'), the gate's time, its life, when the asking process is to pump next ('' for
--   never, or when another one is to; '-' for as it was), ids of its tickets that were admitted and wait for the news,
--   then the operation's own part. Or 'settings' and the time: ask again with the settings. Or
--   'merged' and a name: the resource is another's part now. Or 'none': there is no such gate.
local BY_LIMIT, BY_PAUSE, BY_RAMP, BY_OVERLOAD = 1, 2, 3, 4

local FIRST_PAUSE_MS = 1000
local LONGEST_GUESSED_PAUSE_MS = 60000
local LONGEST_PAUSE_MS = 3600000

local lease = {}
local line = {}

local function number(x)
  return string.format('%.17g', x)
end

-- Holders

local function expire_at(holder, at)
  if holder.expires_at == at then return end
  index.remove(index.expiry(holder))
  holder.expires_at = at
  gate.next_expiry_at = math.min(gate.next_expiry_at, at)
  index.add(0, index.expiry(holder))
  records.holder_changed(holder)
end

-- A ticket's holder, and a sign of its life. The process itself gives those by `renew`: it is not
-- asked to with each ticket.
local function see_holder(ticket)
  local holder = records.holder(ticket.holder)
  local at = gate.now + ticket.holder_ttl
  if not holder then
    holder = { id = ticket.holder, expires_at = at, waiting = 0, held = 0, newest = '' }
    index.add(0, index.expiry(holder))
    gate.next_expiry_at = math.min(gate.next_expiry_at, at)
  elseif ticket.holder ~= ticket.owner and holder.expires_at < at then
    expire_at(holder, at)
  end
  holder.newest = ticket.id
  records.holder_changed(holder)
  return holder
end

-- A sign of life in passing, of one whose tickets are known. Whether it is believed longer for it.
local function hear_of(id, ttl)
  local holder = records.holder(id)
  local is_news = holder and holder.expires_at < gate.now + ttl
  if is_news then expire_at(holder, gate.now + ttl) end
  return is_news
end

-- Counts a holder's tickets that wait and those that are leases. A process is forgotten when it has
-- been silent, others with their last ticket.
local function count_for_holder(ticket, waiting, held)
  local holder = records.holder(ticket.holder)
  holder.waiting = holder.waiting + waiting
  holder.held = holder.held + held
  records.holder_changed(holder)
  if holder.waiting + holder.held == 0 and ticket.holder ~= ticket.owner then
    index.remove(index.expiry(holder))
    records.forget_holder(holder)
  end
end

-- Tickets

-- A ticket that is to wait, in line or aside.
function line.take(ticket)
  index.add(0, index.by_arrival(ticket))
end

-- Takes a ticket out of whatever it waits in.
function line.leave(ticket)
  index.remove(index.by_arrival(ticket))
  if ticket.state == WAITING then
    queue.remove(ticket)
  elseif ticket.state == RETRYING then
    index.remove(index.by_retry(ticket))
    gate.retrying = gate.retrying - 1
  end
end

local function tell(owner, ids, what)
  local channel = string.match(key.state, '^[^{]*') .. 'grants:' .. owner
  redis.call('PUBLISH', channel, cjson.encode({ arg.resource, number(gate.now), ids, what }))
end

-- Whether another process than the asking one is told of a ticket, and may lose it. One that lasts as long
-- as its process does is that one's for good.
local function is_another_s(ticket)
  return ticket.owner ~= arg.instance and ticket.owner ~= ticket.holder
end

-- Who asks last is told of the ticket's turn. Who was to be told before hears that it is not any more.
function line.take_over(ticket)
  if not is_another_s(ticket) then return end
  tell(ticket.owner, { ticket.id }, 'lost')
  ticket.owner = arg.instance
  records.ticket_changed(ticket)
end

function line.forget(ticket)
  if is_another_s(ticket) then tell(ticket.owner, { ticket.id }, 'lost') end
  gate.tickets = gate.tickets - 1
  records.forget_ticket(ticket)
end

local function reprice(ticket, estimate)
  ticket.estimate = estimate
  ticket.share = limits.share_of(gate, estimate)
end

function lease.hold(ticket)
  gate.held = gate.held + 1
  ticket.state = HELD
  limits.take(gate, ticket.estimate)
  if gate.learns then underway.depart(gate, ticket) end
  records.ticket_changed(ticket)
end

function lease.find(id)
  local ticket = records.ticket(id)
  if not ticket or ticket.state ~= HELD then return nil end
  return ticket
end

-- Takes a lease out of the books, its slot and its turn aside.
function lease.take(ticket)
  records.read_behind(ticket)
  gate.held = gate.held - 1
  if gate.learns then underway.remove(gate, ticket) end
end

function lease.recharge(ticket, cost)
  limits.correct(gate, ticket.estimate, cost, ticket.granted_at)
  local share = limits.share_of(gate, cost)
  queue.correct(ticket, share - ticket.share)
  ticket.share = share
end

function lease.finish(ticket)
  limits.free_slot(gate, ticket.granted_at)
  queue.finish(ticket)
end

function lease.refund(ticket)
  limits.give_back(gate, ticket.estimate, ticket.granted_at)
  queue.correct(ticket, -ticket.share)
  queue.finish(ticket)
end

-- What holds the head back

-- When a cost could pass if it were at the head; says in `gate` what it waits for.
local function ready_at(cost)
  local now = gate.now
  local at = now
  gate.bound_kind, gate.bound_index = 0, 0
  if gate.paused_until > at then
    at = gate.paused_until
    gate.bound_kind = BY_PAUSE
  end
  if not gate.ramp.is_open then
    local ramp_at = ramp.ready_at(gate.ramp, now)
    if ramp_at > at then
      at = ramp_at
      gate.bound_kind = BY_RAMP
    end
  end
  local limits_at, bound_index = limits.ready_at(gate, cost)
  if limits_at > at and bound_index > 0 then
    at = limits_at
    gate.bound_kind, gate.bound_index = BY_LIMIT, bound_index
  end
  if not overload.admits(gate.overload, gate.held) then
    at = NEVER
    gate.bound_kind, gate.bound_index = BY_OVERLOAD, 0
  end
  return at
end

local function next_retry()
  local member = index.first('R')
  if not member then return nil end
  local id, at = index.read_timed(member)
  return records.ticket(id), at
end

local function release_retries()
  while gate.retrying > 0 do
    local ticket, at = next_retry()
    if at > gate.now or meters.ready_at(state.retry_budget(), 1, gate.now) > gate.now then return end
    index.remove(index.by_retry(ticket))
    gate.retrying = gate.retrying - 1
    meters.take(state.retry_budget(), 1, gate.now)
    ticket.state = WAITING
    queue.restore(ticket, ticket.start_tag)
  end
end

local function next_retry_at()
  if gate.retrying == 0 then return NEVER end
  local _, at = next_retry()
  return math.max(at, meters.ready_at(state.retry_budget(), 1, gate.now))
end

-- Admission

local function announce(ticket)
  gate.grants[#gate.grants + 1] = ticket
end

local function admit(ticket)
  index.remove(index.by_arrival(ticket))
  count_for_holder(ticket, -1, 1)
  queue.serve(ticket)
  ticket.granted_at = gate.now
  ticket.produced = -1
  lease.hold(ticket)
  ramp.admitted(gate.ramp, gate.now)
  announce(ticket)
end

local function expire_ticket(ticket)
  if ticket.state == HELD then
    lease.take(ticket)
    lease.finish(ticket)
  else
    line.leave(ticket)
  end
  line.forget(ticket)
end

-- Ends what those had who have been silent for too long. What their leases consumed stays counted.
local function expire()
  while gate.next_expiry_at <= gate.now do
    local member = index.first('X')
    local holder = member and records.holder(index.read_expiry(member))
    gate.next_expiry_at = holder and holder.expires_at or NEVER
    if gate.next_expiry_at > gate.now then return end
    gate.is_changed = true
    for _, ticket in ipairs(records.tickets_of(holder)) do
      expire_ticket(ticket)
    end
    index.remove(member)
    records.forget_holder(holder)
  end
end

local function pump()
  while true do
    release_retries()
    local ticket = queue.head(gate.now)
    if not ticket then
      gate.bound_kind, gate.bound_index = 0, 0
      gate.next_at = next_retry_at()
      return
    end
    local at = ready_at(ticket.estimate)
    if at > gate.now then
      gate.next_at = math.min(at, next_retry_at())
      return
    end
    admit(ticket)
  end
end

-- What is said

-- A binding, as four values: its kind, and of a limit dimension, algorithm and so on.
local KINDS = { [0] = '', 'limit', 'paused', 'ramp', 'overload' }

local function binding(kind, meter_index)
  local m = kind == BY_LIMIT and gate.meters[meter_index]
  if not m then return { KINDS[kind] } end
  return { KINDS[kind], m.dimension, m.algorithm, number(m.amount), number(m.window_ms), number(m.capacity), m.source }
end

-- Adds up what goes before a ticket and asks each limit when it could bear that and the ticket.
local function predict(ticket)
  local ahead = queue.ahead_of(ticket)
  local paused = math.max(gate.paused_until, ramp.ready_at(gate.ramp, gate.now))
  local at, bound_index = limits.ready_in_long_run(gate, ahead, ticket.estimate)
  local expected_at = math.max(paused, at)
  local position = math.floor(ahead.tickets + 0.5)
  if bound_index > 0 and at > paused then return position, expected_at, BY_LIMIT, bound_index end
  if gate.paused_until > gate.now then return position, expected_at, BY_PAUSE, 0 end
  local bound = gate.meters[gate.bound_index]
  local until_event = gate.bound_kind == BY_OVERLOAD
    or (gate.bound_kind == BY_LIMIT and bound.algorithm == 'concurrency')
  return position, until_event and NEVER or expected_at, gate.bound_kind, gate.bound_index
end

local function prediction(ticket)
  local position, expected_at, kind, meter_index = predict(ticket)
  return number(position), number(expected_at), binding(kind, meter_index)
end

-- A ticket for those who look: its id, flow, lane, estimate by dimension, when it was enqueued, when it was
-- granted ('' while it waits), when its holder is thought to die.
local function view_of(ticket)
  local is_held = ticket.state == HELD
  local estimate = ticket.estimate
  local holder = records.holder(ticket.holder)
  return {
    ticket.id,
    ticket.flow,
    ticket.lane,
    number(estimate.requests),
    number(estimate.input_tokens),
    number(estimate.output_tokens),
    number(estimate.tokens),
    number(estimate.cost),
    number(ticket.enqueued_at),
    is_held and number(ticket.granted_at) or '',
    number(holder and holder.expires_at or NEVER),
  }
end

-- Whose timer wakes the gate. One process promises to; another one takes over when it would come
-- too late, or when it has not kept its promise.
-- The instant at which the asking process is to pump, or nil.
local function set_alarm()
  local wake_at = math.min(gate.next_at, queue.next_rise_at(), gate.next_expiry_at)
  local is_kept = gate.alarm_owner ~= arg.instance and gate.alarm_at > gate.now and gate.alarm_at <= wake_at
  if is_kept then return nil end
  gate.alarm_owner = arg.instance
  gate.alarm_at = wake_at < NEVER and wake_at or -NEVER
  return wake_at < NEVER and wake_at or nil
end

-- Tells the owners of those who were admitted, by push, save the process that asks.
local function tell_grants(told_otherwise)
  local own, others = {}, {}
  if #gate.grants == 0 then return own end
  for _, ticket in ipairs(gate.grants) do
    if ticket.owner ~= arg.instance then
      local ids = others[ticket.owner] or {}
      ids[#ids + 1] = ticket.id
      others[ticket.owner] = ids
    elseif not (told_otherwise and told_otherwise[ticket.id]) then
      own[#own + 1] = ticket.id
    end
  end
  for owner, ids in pairs(others) do
    tell(owner, ids)
  end
  return own
end

local function answer_of(wake_at, own, result)
  local answer = { 'ok', number(gate.now), gate.life, wake_at, own }
  for _, part in ipairs(result) do
    answer[#answer + 1] = part
  end
  return answer
end

-- Ends an operation: pumps, writes, tells. `told_otherwise` has the ids that its answer tells of.
local function close(result, told_otherwise)
  pump()
  if type(result) == 'function' then result = result() end
  local own = tell_grants(told_otherwise)
  local wake_at = set_alarm()
  records.write(gate.tickets > 0)
  state.write()
  return answer_of(wake_at and number(wake_at) or '', own, result)
end

-- Ends an operation that only looks: it leaves no trace, so nobody keeps a gate alive by watching it.
local function show(result)
  if gate.is_changed then return close(result) end
  return answer_of('-', {}, result())
end

local DONE, NOT_DONE = { '1' }, { '0' }

local function done(is_done)
  return close(is_done and DONE or NOT_DONE)
end

-- Opens the gate, or begins it, and lets go of what has expired. Returns what to answer at once, or nil.
local function open()
  local answer = state.open(true)
  if answer then return answer end
  expire()
  return nil
end

-- As `open`, for what concerns only what a gate knows already.
local function open_known()
  local answer = state.open(false)
  if answer then return answer end
  expire()
  return nil
end

-- The provider's refusals

local function fuse(observed, sent_at)
  if not gate.learns then return end
  local is_news = limits.fuse(gate, observed, sent_at)
  if is_news then gate.known_since = math.min(gate.known_since, gate.now) end
  if is_news and gate.refused_at == -NEVER then ramp.open(gate.ramp) end
end

-- `retry_after_ms` is below zero when the provider gave none.
local function refused(retry_after_ms, observed, sent_at)
  local known_since = gate.known_since
  fuse(observed, sent_at)
  local guessed = FIRST_PAUSE_MS * 2 ^ math.min(gate.refused_in_a_row, 6)
  local pause_ms = retry_after_ms > 0 and retry_after_ms or math.min(guessed, LONGEST_GUESSED_PAUSE_MS)
  gate.paused_until = math.max(gate.paused_until, gate.now + math.min(pause_ms, LONGEST_PAUSE_MS))
  ramp.start(gate.ramp, ramp.AFTER_REFUSAL)
  if sent_at <= gate.refused_at then return end
  gate.refused_at = gate.now
  gate.refused_in_a_row = gate.refused_in_a_row + 1
  if sent_at >= known_since then limits.surprised(gate) end
end
