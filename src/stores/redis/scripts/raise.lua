-- Raises a waiting ticket one lane.
-- @include gate
-- @arg id text
-- @answer '1', or '0' when it is not in line, or in the highest lane
local answer = open_known()
if answer then return answer end

local ticket = records.ticket(arg.id)
if not ticket or ticket.state ~= WAITING then return done(false) end
return done(queue.raise(ticket, gate.now))
