-- Who is here, in order of arrival. Of more than `most` it is any that are told of: their order is in no
-- index, since that would cost each lease more than all who ever look.
-- @include gate
-- @arg most number
-- @answer a list: of each ticket what `view_of` shows
local answer = open_known()
if answer then return answer end

local function by_arrival(a, b)
  if a.enqueued_at ~= b.enqueued_at then return a.enqueued_at < b.enqueued_at end
  return a.order < b.order
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
