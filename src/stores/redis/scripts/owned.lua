-- The tickets and leases of a holder.
-- @include gate
-- @arg holder text
-- @answer their ids
local answer = open_known()
if answer then return answer end

return show(function()
  local ids = {}
  local holder = records.holder(arg.holder)
  for _, ticket in ipairs(holder and records.tickets_of(holder) or {}) do
    ids[#ids + 1] = ticket.id
  end
  return { ids }
end)
