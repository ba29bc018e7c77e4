-- Takes a ticket out of line.
-- @include gate
-- @arg id text
-- @answer nothing when it does not wait here, else its place: when it was enqueued, its lane, since
--   when it is in that, the virtual time at which its turn would have started
local answer = open_known()
if answer then return answer end

local ticket = records.ticket(arg.id)
if not ticket or ticket.state == HELD then return close({}) end
line.leave(ticket)
count_for_holder(ticket, -1, 0)
line.forget(ticket)
return close({
  number(ticket.enqueued_at),
  number(ticket.lane),
  number(ticket.lane_since),
  number(ticket.start_tag),
})
