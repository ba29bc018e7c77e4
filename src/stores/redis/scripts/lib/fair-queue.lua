-- The line: lanes by priority with aging, and inside a lane weighted start-time fair queueing over
-- cost. Owns: whose turn is next. Mirrors src/core/fair-queue.ts, where the reasons are.
-- @include state
-- @include index
local REMEMBERED_LEADS = 1000

local queue = {}

-- Virtual time is counted in ticks, so that what is added and taken off again leaves nothing behind.
local TICKS = 4294967296

local function time_of(ticket, share)
  local ticks = share / ticket.weight * TICKS
  return (ticks < 0 and math.ceil(ticks) or math.floor(ticks)) / TICKS
end

local function turn_of(ticket)
  return time_of(ticket, ticket.share)
end

local function waiting_in_line()
  local lanes = gate.lanes
  return lanes[0].tickets + lanes[1].tickets + lanes[2].tickets + lanes[3].tickets
end
queue.waiting = waiting_in_line

local function add_backlog(sum, other, part)
  sum.tickets = sum.tickets + other.tickets * part
  sum.requests = sum.requests + other.requests * part
  sum.input_tokens = sum.input_tokens + other.input_tokens * part
  sum.output_tokens = sum.output_tokens + other.output_tokens * part
  sum.tokens = sum.tokens + other.tokens * part
  sum.cost = sum.cost + other.cost * part
end

local function add_ticket(sum, ticket, sign)
  local estimate = ticket.estimate
  sum.tickets = sum.tickets + sign
  sum.requests = sum.requests + estimate.requests * sign
  sum.input_tokens = sum.input_tokens + estimate.input_tokens * sign
  sum.output_tokens = sum.output_tokens + estimate.output_tokens * sign
  sum.tokens = sum.tokens + estimate.tokens * sign
  sum.cost = sum.cost + estimate.cost * sign
end

local function count(flow, ticket, sign)
  flow.waiting = flow.waiting + sign
  flow.waiting_share = flow.waiting == 0 and 0 or flow.waiting_share + sign * turn_of(ticket)
  add_ticket(gate.lanes[flow.lane], ticket, sign)
end

local function forget_unheld(flow)
  if flow.held == 0 then
    records.forget_flow(flow)
  else
    records.flow_changed(flow)
  end
end

local function drop_lead(flow)
  if not flow.is_ahead then return end
  index.remove(index.lead(flow))
  flow.is_ahead = false
  gate.lanes[flow.lane].ahead = gate.lanes[flow.lane].ahead - 1
end

local function drop_turn(flow)
  index.remove(index.turn(flow))
  gate.lanes[flow.lane].backlogged = gate.lanes[flow.lane].backlogged - 1
end

local function first_lead(lane_index)
  if gate.lanes[lane_index].ahead == 0 then return nil end
  local member = index.first('A' .. lane_index)
  return records.flow(lane_index, string.sub(member, 11))
end

-- Forgets the leads that the lane's time has caught up with.
local function forget_passed(lane_index)
  local lane = gate.lanes[lane_index]
  local flow = first_lead(lane_index)
  while flow and flow.tag <= lane.virtual_time do
    drop_lead(flow)
    forget_unheld(flow)
    flow = first_lead(lane_index)
  end
end

-- A flow has no waiting ticket (any more), and stands in no order of the index.
local function rest(flow)
  local lane = gate.lanes[flow.lane]
  drop_lead(flow)
  if flow.tag <= lane.virtual_time then
    forget_unheld(flow)
  elseif lane.backlogged == 0 and lane.ahead == 0 then
    -- Nobody else is there: its lead would be remembered and passed at once.
    lane.virtual_time = flow.tag
    forget_unheld(flow)
  else
    flow.is_ahead = true
    flow.ahead_at = flow.tag
    lane.ahead = lane.ahead + 1
    index.add(0, index.lead(flow))
    records.flow_changed(flow)
  end
  local most_ahead = lane.backlogged == 0 and 0 or REMEMBERED_LEADS
  while lane.ahead > most_ahead do
    lane.virtual_time = first_lead(flow.lane).tag
    forget_passed(flow.lane)
  end
end

local function stand_in_turn(flow)
  flow.turn_at = flow.turn_tag
  index.add(0, index.turn(flow))
  gate.lanes[flow.lane].backlogged = gate.lanes[flow.lane].backlogged + 1
  records.flow_changed(flow)
end

-- A backlogged flow's tag or first ticket has changed.
local function retag(flow, since, order, early)
  drop_turn(flow)
  flow.since, flow.order, flow.early = since, order, early
  flow.turn_tag = math.min(flow.tag, early)
  stand_in_turn(flow)
end

local function early_tag_of_first(flow)
  if not flow.early then flow.early = records.ticket(flow.first).early_tag end
  return flow.early
end

local function is_older(ticket, flow)
  if ticket.lane_since ~= flow.since then return ticket.lane_since < flow.since end
  return ticket.order < flow.order
end

local function flow_for(ticket)
  local lane = state.lane(ticket.lane)
  local flow = records.flow(ticket.lane, ticket.flow)
  if not flow then
    return {
      lane = ticket.lane,
      name = ticket.flow,
      tag = lane.virtual_time,
      turn_tag = lane.virtual_time,
      held = 0,
      waiting = 0,
      waiting_share = 0,
      turn_at = 0,
      since = 0,
      order = 0,
      ahead_at = 0,
      is_ahead = false,
      first = '',
    }
  end
  if flow.waiting == 0 then
    drop_lead(flow)
    flow.tag = math.max(flow.tag, lane.virtual_time)
  end
  return flow
end

local function join(ticket, early_tag)
  local flow = flow_for(ticket)
  local was_idle = flow.waiting == 0
  ticket.in_flow = true
  ticket.early_tag = early_tag
  ticket.joined_at_turn = gate.turns
  ticket.start_tag = math.min(early_tag, flow.tag + flow.waiting_share)
  records.ticket_changed(ticket)
  index.add(0, index.in_flow(ticket), 0, index.in_lane(ticket))
  count(flow, ticket, 1)
  if was_idle then
    flow.first = ticket.id
    flow.since, flow.order, flow.early = ticket.lane_since, ticket.order, early_tag
    flow.turn_tag = math.min(flow.tag, early_tag)
    stand_in_turn(flow)
  elseif is_older(ticket, flow) then
    flow.first = ticket.id
    retag(flow, ticket.lane_since, ticket.order, early_tag)
  else
    records.flow_changed(flow)
  end
end

-- Takes a ticket out of its flow's waiting ones; when it was the first, the next stands for the flow.
local function unlink(flow, ticket)
  index.remove(index.in_flow(ticket), index.in_lane(ticket))
  count(flow, ticket, -1)
  if flow.first ~= ticket.id then return false end
  if flow.waiting > 0 then
    local prefix = index.of_flow(flow.lane, flow.name)
    flow.next_since, flow.next_order, flow.next_early, flow.first =
      index.read_in_flow(index.first(prefix), prefix)
  end
  return true
end

-- What follows when a ticket has left its flow's waiting ones.
local function follow_up(flow, was_first)
  if flow.waiting == 0 then
    drop_turn(flow)
    rest(flow)
  elseif was_first then
    retag(flow, flow.next_since, flow.next_order, flow.next_early)
  else
    records.flow_changed(flow)
  end
end

function queue.append(ticket)
  join(ticket, NEVER)
end

function queue.restore(ticket, start_tag)
  join(ticket, start_tag)
end

function queue.remove(ticket)
  local flow = records.flow(ticket.lane, ticket.flow)
  if flow.first == ticket.id then ticket.start_tag = flow.turn_tag end
  local was_first = unlink(flow, ticket)
  ticket.in_flow = false
  records.ticket_changed(ticket)
  follow_up(flow, was_first)
end

function queue.raise(ticket, now)
  if ticket.lane == 0 then return false end
  queue.remove(ticket)
  ticket.lane = ticket.lane - 1
  ticket.lane_since = now
  queue.append(ticket)
  return true
end

local function was_passed_over(lane_index, joined_at_turn)
  for higher = 0, lane_index - 1 do
    if gate.lanes[higher].last_turn > joined_at_turn then return true end
  end
  return false
end

-- The oldest ticket of a lane if it was passed over: since when it is there, and its id.
local function oldest_passed_over(lane_index)
  if gate.lanes[lane_index].tickets == 0 or not was_passed_over(lane_index, 0) then return nil end
  local since, joined, id = index.read_in_lane(index.first('G' .. lane_index))
  if was_passed_over(lane_index, joined) then return since, id end
  return nil
end

local function age(now)
  for lane_index = 3, 1, -1 do
    local since, id = oldest_passed_over(lane_index)
    while since and since + gate.aging_ms <= now do
      local ticket = records.ticket(id)
      queue.remove(ticket)
      ticket.lane = lane_index - 1
      ticket.lane_since = ticket.lane_since + gate.aging_ms
      queue.append(ticket)
      since, id = oldest_passed_over(lane_index)
    end
  end
end

function queue.next_rise_at()
  local rise_at = NEVER
  for lane_index = 1, 3 do
    local since = oldest_passed_over(lane_index)
    if since then rise_at = math.min(rise_at, since + gate.aging_ms) end
  end
  return rise_at
end

function queue.head(now)
  if waiting_in_line() == 0 then return nil end
  age(now)
  for lane_index = 0, 3 do
    if gate.lanes[lane_index].backlogged > 0 then
      local flow = records.flow(lane_index, string.sub(index.first('B' .. lane_index), 27))
      return records.ticket(flow.first)
    end
  end
  return nil
end

local function count_turn(flow, ticket)
  local lane = gate.lanes[flow.lane]
  gate.turns = gate.turns + 1
  lane.last_turn = gate.turns
  lane.virtual_time = math.max(lane.virtual_time, flow.turn_tag)
  ticket.start_tag = flow.turn_tag
end

local function count_held(flow, ticket)
  flow.held = flow.held + 1
  flow.tag = flow.tag + turn_of(ticket)
end

function queue.serve(ticket)
  local flow = records.flow(ticket.lane, ticket.flow)
  count_turn(flow, ticket)
  local was_first = unlink(flow, ticket)
  count_held(flow, ticket)
  follow_up(flow, was_first)
  forget_passed(flow.lane)
end

-- As `append` and `serve` in one, for a ticket that nobody waits before: it never stands in line.
function queue.pass(ticket, early_tag)
  local flow = flow_for(ticket)
  ticket.in_flow = true
  ticket.early_tag = early_tag
  ticket.joined_at_turn = gate.turns
  flow.turn_tag = math.min(flow.tag, early_tag)
  count_turn(flow, ticket)
  count_held(flow, ticket)
  rest(flow)
  forget_passed(flow.lane)
end

function queue.correct(ticket, share_delta)
  if not ticket.in_flow or share_delta == 0 then return end
  local flow = records.flow(ticket.lane, ticket.flow)
  flow.tag = flow.tag + time_of(ticket, share_delta)
  if flow.waiting > 0 then
    retag(flow, flow.since, flow.order, early_tag_of_first(flow))
  else
    rest(flow)
  end
end

function queue.finish(ticket)
  if not ticket.in_flow then return end
  local flow = records.flow(ticket.lane, ticket.flow)
  ticket.in_flow = false
  flow.held = flow.held - 1
  if flow.waiting == 0 then
    rest(flow)
  else
    records.flow_changed(flow)
  end
end

function queue.start_tag_of(ticket)
  local lane = gate.lanes[ticket.lane]
  local flow = records.flow(ticket.lane, ticket.flow)
  if not flow then return lane.virtual_time end
  return math.max(lane.virtual_time, flow.tag) + flow.waiting_share
end

-- What goes before a ticket, in line or about to join, as far as can be told at once.
function queue.ahead_of(ticket)
  local ahead = state.no_backlog()
  for higher = 0, ticket.lane - 1 do
    add_backlog(ahead, gate.lanes[higher], 1)
  end
  local lane = gate.lanes[ticket.lane]
  local others = state.no_backlog()
  add_backlog(others, lane, 1)
  local is_in_line = ticket.in_flow
  local rounds
  if is_in_line then
    add_ticket(others, ticket, -1)
    rounds = index.rank(index.of_flow(ticket.lane, ticket.flow), index.in_flow(ticket))
  else
    local flow = records.flow(ticket.lane, ticket.flow)
    rounds = flow and flow.waiting > 0 and flow.waiting or 1
  end
  local before = rounds * lane.backlogged - (is_in_line and 1 or 0)
  if others.tickets > 0 then add_backlog(ahead, others, math.min(1, before / others.tickets)) end
  return ahead
end
