-- Where a waiting ticket stands.
-- @include gate
-- @arg id text
-- @answer nothing when it does not wait here, else position, expected instant, binding
local answer = open_known()
if answer then return answer end

return show(function()
  local ticket = records.ticket(arg.id)
  if not ticket or ticket.state == HELD then return {} end
  return { prediction(ticket) }
end)
