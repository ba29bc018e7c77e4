-- A lease could not be used. Its ticket goes back to the front of its flow, for nothing.
-- @include gate
-- @arg id text
-- @arg why text                'rate_limited', 'overloaded', 'disconnected' or 'repriced'
-- @arg backoff_ms number       of the two in the middle
-- @arg retry_after_ms number   of the first; below zero when the provider gave none
-- @arg observed text           of the first: what it says of the limits, as JSON
-- @arg sent_at number          of the first: when the request left, by the gate's time
-- @arg estimate cost           of the last: the new price
-- @answer '1', or '0' when it is no lease
local answer = open_known()
if answer then return answer end

local ticket = lease.find(arg.id)
if not ticket then return done(false) end
local why = arg.why
lease.take(ticket)
if why == 'overloaded' then overload.overloaded(gate.overload, gate.held + 1, gate.now) end
lease.refund(ticket)
if why == 'rate_limited' then
  refused(arg.retry_after_ms, cjson.decode(arg.observed), arg.sent_at)
elseif why == 'repriced' then
  if gate.learns then underway.undo_departure(gate, ticket) end
  reprice(ticket, arg.estimate)
end
line.take(ticket)
count_for_holder(ticket, 1, -1)
if why == 'overloaded' or why == 'disconnected' then
  ticket.state = RETRYING
  ticket.retry_at = gate.now + arg.backoff_ms
  gate.retrying = gate.retrying + 1
  index.add(0, index.by_retry(ticket))
  records.ticket_changed(ticket)
else
  ticket.state = WAITING
  queue.restore(ticket, ticket.start_tag)
end
return done(true)
