-- One of those who are here.
-- @include gate
-- @arg id text
-- @answer nothing when it is not here, else what `view_of` shows
local answer = open_known()
if answer then return answer end

return show(function()
  local ticket = records.ticket(arg.id)
  return ticket and view_of(ticket) or {}
end)
