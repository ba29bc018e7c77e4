-- Ends a lease that cost nothing: all that it took is given back.
-- @include gate
-- @arg id text
-- @arg only_own flag  leaves it alone if another process has asked for it since
-- @answer '1', or '0' when it had ended before, or is left alone
local answer = open_known()
if answer then return answer end

local ticket = lease.find(arg.id)
if not ticket or (arg.only_own and ticket.owner ~= arg.instance) then return done(false) end
lease.take(ticket)
count_for_holder(ticket, 0, -1)
lease.refund(ticket)
line.forget(ticket)
return done(true)
