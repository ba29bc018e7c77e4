-- Ends a lease with what it really cost.
-- @include gate
-- @arg id text
-- @arg actual cost
-- @arg exact flag  whether the provider reported it; an estimate may charge more but refunds nothing
-- @answer '1', or '0' when it had ended before
local answer = open_known()
if answer then return answer end

local ticket = lease.find(arg.id)
if not ticket then return done(false) end
local actual = arg.actual
if not arg.exact then
  for dimension, least in pairs(ticket.estimate) do
    actual[dimension] = math.max(actual[dimension], least)
  end
end
lease.take(ticket)
count_for_holder(ticket, 0, -1)
lease.recharge(ticket, actual)
lease.finish(ticket)
line.forget(ticket)
return done(true)
