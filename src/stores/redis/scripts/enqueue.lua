-- Puts a ticket in line, lets it pass at once, or refuses it. A repeated id gets the present answer, and is
-- the asking process's from then on.
-- @include gate
-- @arg id text
-- @arg flow text
-- @arg lane number         0 for critical to 3 for low; a place's lane where it has one
-- @arg weight number
-- @arg estimate cost
-- @arg deadline_at number  by the gate's time
-- @arg parked flag
-- @arg holder text         who must be alive for it to last
-- @arg holder_ttl number   milliseconds
-- @arg has_place flag
-- @arg enqueued_at number  of the place, as the two that follow
-- @arg lane_since number
-- @arg start_tag number
-- @answer 'admitted', or 'waiting' or 'refused' (then a reason), position, expected instant, binding
local answer = open()
if answer then return answer end

local function arrive()
  local order = gate.arrivals
  gate.arrivals = order + 1
  return {
    id = arg.id,
    state = WAITING,
    lane = arg.lane,
    in_flow = false,
    weight = arg.weight,
    estimate = arg.estimate,
    share = limits.share_of(gate, arg.estimate),
    enqueued_at = arg.has_place and arg.enqueued_at or gate.now,
    order = order,
    granted_at = -NEVER,
    produced = -1,
    retry_at = 0,
    lane_since = arg.has_place and arg.lane_since or gate.now,
    start_tag = 0,
    joined_at_turn = 0,
    early_tag = NEVER,
    holder_ttl = arg.holder_ttl,
    flow = arg.flow,
    owner = arg.instance,
    holder = arg.holder,
  }
end

-- Nobody is before it and nothing restrains.
local function passes_at_once(ticket)
  return not arg.parked and queue.waiting() == 0 and ready_at(ticket.estimate) <= gate.now
end

local function pass(ticket)
  gate.tickets = gate.tickets + 1
  see_holder(ticket)
  queue.pass(ticket, arg.has_place and arg.start_tag or NEVER)
  ticket.granted_at = gate.now
  lease.hold(ticket)
  count_for_holder(ticket, 0, 1)
  ramp.admitted(gate.ramp, gate.now)
end

local function refusal_of(ticket)
  if arg.has_place then return nil end
  local position, expected_at, kind, meter_index = predict(ticket)
  local reason
  if gate.tickets - gate.held >= gate.max_queued then
    reason = 'queue_full'
  elseif expected_at > arg.deadline_at and expected_at ~= NEVER then
    reason = 'wait_too_long'
  else
    return nil
  end
  return { 'refused', reason, number(position), number(expected_at), binding(kind, meter_index) }
end

local function wait(ticket)
  gate.tickets = gate.tickets + 1
  see_holder(ticket)
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  if arg.parked then
    ticket.state = PARKED
    ticket.start_tag = arg.has_place and arg.start_tag or queue.start_tag_of(ticket)
    records.ticket_changed(ticket)
  elseif arg.has_place then
    queue.restore(ticket, arg.start_tag)
  else
    queue.append(ticket)
  end
end

records.read_ahead(arg.id, arg.lane, arg.flow, arg.holder)
local ticket = records.ticket(arg.id)
local refusal
if ticket then
  hear_of(arg.holder, arg.holder_ttl)
  line.take_over(ticket)
else
  ticket = arrive()
  if passes_at_once(ticket) then
    pass(ticket)
  else
    refusal = refusal_of(ticket)
    if not refusal then wait(ticket) end
  end
end

return close(function()
  if refusal then return refusal end
  if ticket.state == HELD then return { 'admitted' } end
  return { 'waiting', prediction(ticket) }
end, { [arg.id] = true })
