-- Takes a ticket out, whether it waits or is a lease: what a lease took is given back.
-- @include gate
-- @arg id text
-- @arg only_own flag  leaves it alone if another process has asked for it since
-- @answer '1', or '0' when it is not here, or is left alone
local answer = open_known()
if answer then return answer end

local ticket = records.ticket(arg.id)
if not ticket or (arg.only_own and is_another_s(ticket)) then return done(false) end
if ticket.state == HELD then
  lease.take(ticket)
  count_for_holder(ticket, 0, -1)
  lease.refund(ticket)
else
  line.leave(ticket)
  count_for_holder(ticket, -1, 0)
end
line.forget(ticket)
return done(true)
