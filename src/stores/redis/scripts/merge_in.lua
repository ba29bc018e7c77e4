-- Takes in what another gate gave up, bounds and deadlines aside.
-- @include gate
-- @arg tickets text  as JSON: pairs of an id and a record in hexadecimal digits, in order of arrival
local answer = open()
if answer then return answer end

local function from_hex(digits)
  return (string.gsub(digits, '..', function(byte)
    return string.char(tonumber(byte, 16))
  end))
end

local function adopt(ticket)
  ticket.in_flow = false
  ticket.order = gate.arrivals
  gate.arrivals = gate.arrivals + 1
  gate.tickets = gate.tickets + 1
  ticket.share = limits.share_of(gate, ticket.estimate)
  see_holder(ticket)
  if ticket.state == HELD then
    lease.hold(ticket)
    count_for_holder(ticket, 0, 1)
    return
  end
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  ticket.start_tag = queue.start_tag_of(ticket)
  if ticket.state == WAITING then
    queue.append(ticket)
    return
  end
  if ticket.state == RETRYING then
    gate.retrying = gate.retrying + 1
    index.add(0, index.by_retry(ticket))
  end
  records.ticket_changed(ticket)
end

limits.forget_others(gate)
for _, pair in ipairs(cjson.decode(arg.tickets)) do
  if not records.ticket(pair[1]) then adopt(unpack_ticket(pair[1], from_hex(pair[2]))) end
end
return close({})
