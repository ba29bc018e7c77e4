-- A sign of life of a holder.
-- @include gate
-- @arg holder text
-- @arg ttl number  milliseconds
-- @answer '1', or '0' when it has no tickets here (any more); how many of its tickets wait; its leases
local answer = open_known()
if answer then return answer end

local holder = records.holder(arg.holder)
if holder then expire_at(holder, gate.now + arg.ttl) end
return close(function()
  holder = records.holder(arg.holder)
  if not holder then return { '0', 0, 0 } end
  local is_known = holder.waiting + holder.held > 0
  return { is_known and '1' or '0', holder.waiting, holder.held }
end)
