-- Brings tickets to a gate that may not know them; see `Store.rejoin`.
-- @include gate
-- @arg tickets text  as JSON: id, flow, lane, weight, estimate, parked, holder, holder_ttl, and where
--   they have one a place (enqueued_at, lane_since, start_tag), granted_at, counted_in
-- @arg spent cost    what ended leases took that no gate has counted
-- @answer the ids that are leases now, but for those that another process is told of
local answer = open()
if answer then return answer end

local function arrive(own)
  local order = gate.arrivals
  gate.arrivals = order + 1
  gate.tickets = gate.tickets + 1
  local place = own.place
  return {
    id = own.id,
    state = WAITING,
    lane = own.lane,
    in_flow = false,
    weight = own.weight,
    estimate = own.estimate,
    share = limits.share_of(gate, own.estimate),
    enqueued_at = place and place.enqueued_at or gate.now,
    order = order,
    granted_at = -NEVER,
    produced = -1,
    retry_at = 0,
    lane_since = place and place.lane_since or gate.now,
    start_tag = 0,
    joined_at_turn = 0,
    early_tag = NEVER,
    holder_ttl = own.holder_ttl,
    flow = own.flow,
    owner = arg.instance,
    holder = own.holder,
  }
end

-- A lease that this life of the gate has counted takes its slot, and nothing twice.
local function hold_counted(ticket, granted_at)
  ticket.granted_at = granted_at
  ticket.state = HELD
  gate.held = gate.held + 1
  limits.take_slot(gate)
  if gate.learns then underway.add(gate, ticket) end
  records.ticket_changed(ticket)
end

local function hold_uncounted(ticket)
  ticket.granted_at = gate.now
  lease.hold(ticket)
end

local function wait(ticket, own)
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  local start_tag = own.place and (own.place.start_tag or NEVER)
  if own.parked then
    ticket.state = PARKED
    ticket.start_tag = start_tag or queue.start_tag_of(ticket)
    records.ticket_changed(ticket)
  elseif start_tag then
    queue.restore(ticket, start_tag)
  else
    queue.append(ticket)
  end
end

local function bring_stranger(own)
  local ticket = arrive(own)
  see_holder(ticket)
  if not own.granted_at then
    wait(ticket, own)
    return
  end
  ticket.start_tag = queue.start_tag_of(ticket)
  count_for_holder(ticket, 0, 1)
  if own.counted_in == gate.life then
    hold_counted(ticket, own.granted_at)
  else
    hold_uncounted(ticket)
  end
end

local function bring(own)
  local ticket = records.ticket(own.id)
  if not ticket then
    bring_stranger(own)
    return
  end
  -- Of several who think it theirs, it is the one's who has heard of its holder last.
  if hear_of(own.holder, own.holder_ttl) then line.take_over(ticket) end
  if own.granted_at and ticket.state ~= HELD then
    line.leave(ticket)
    count_for_holder(ticket, -1, 1)
    ticket.produced = -1
    hold_uncounted(ticket)
  end
end

local spent = arg.spent
if spent.requests + spent.input_tokens + spent.output_tokens + spent.tokens + spent.cost > 0 then
  limits.charge(gate, spent)
end
local told = {}
local tickets = cjson.decode(arg.tickets)
for _, own in ipairs(tickets) do
  told[own.id] = true
  bring(own)
end
return close(function()
  local leases = {}
  for _, own in ipairs(tickets) do
    local ticket = records.ticket(own.id)
    if ticket and ticket.state == HELD and ticket.owner == arg.instance then leases[#leases + 1] = own.id end
  end
  return { leases }
end, told)
