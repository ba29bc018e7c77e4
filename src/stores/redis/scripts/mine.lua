-- Which of some tickets and leases are here, and this process's to be told of.
-- @include gate
-- @arg ids text  as JSON
-- @answer their ids
local answer = open_known()
if answer then return answer end

return show(function()
  local mine = {}
  for _, id in ipairs(cjson.decode(arg.ids)) do
    local ticket = records.ticket(id)
    if ticket and ticket.owner == arg.instance then mine[#mine + 1] = id end
  end
  return { mine }
end)
