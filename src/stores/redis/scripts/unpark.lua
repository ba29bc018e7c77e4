-- Brings a parked ticket back in line, where it would be by now, with a fresh estimate.
-- @include gate
-- @arg id text
-- @arg estimate cost
-- @answer '1', or '0' when it is not parked here
local answer = open_known()
if answer then return answer end

local ticket = records.ticket(arg.id)
if not ticket or ticket.state ~= PARKED then return done(false) end
reprice(ticket, arg.estimate)
ticket.state = WAITING
queue.restore(ticket, ticket.start_tag)
return done(true)
