-- Ends a lease that cost nothing: all that it took is given back.
-- @include gate
-- @arg id text
-- @answer '1', or '0' when it had ended before
local answer = open_known()
if answer then return answer end

local ticket = lease.find(arg.id)
if not ticket then return done(false) end
lease.take(ticket)
count_for_holder(ticket, 0, -1)
lease.refund(ticket)
line.forget(ticket)
return done(true)
