-- Follows a lease as its answer comes.
-- @include gate
-- @arg id text
-- @arg estimate cost     what it is now thought to cost in all
-- @arg produced number   output tokens that the provider has counted already; -1 while it has not answered
-- @answer '1', or '0' when it is no lease
local answer = open_known()
if answer then return answer end

local ticket = lease.find(arg.id)
if not ticket then return done(false) end
lease.recharge(ticket, arg.estimate)
if gate.learns then underway.remove(gate, ticket) end
ticket.estimate = arg.estimate
ticket.produced = arg.produced
if gate.learns then underway.add(gate, ticket) end
records.ticket_changed(ticket)
return done(true)
