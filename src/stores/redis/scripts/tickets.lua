-- Who is here, in order of arrival. Of more than `most` it is any that are told of: their order is in no
-- index, since that would cost each lease more than all who ever look.
-- @include gate
-- @arg most number
-- @answer a list: of each ticket its id, flow, lane, estimate by dimension, when it was enqueued,
--   when it was granted ('' while it waits), when its holder is thought to die
local answer = open_known()
if answer then return answer end

local function by_arrival(a, b)
  if a.enqueued_at ~= b.enqueued_at then return a.enqueued_at < b.enqueued_at end
  return a.order < b.order
end

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

return show(function()
  local tickets = records.some_tickets(arg.most)
  table.sort(tickets, by_arrival)
  local views = {}
  for position, ticket in ipairs(tickets) do
    views[position] = view_of(ticket)
  end
  return { views }
end)
