-- Gives up all tickets and leases for another gate to take in; this one is that one's part from now on.
-- @include gate
-- @arg into text  the other resource's name
-- @answer for each ticket its id and its record, as hexadecimal digits, in order of arrival
local MERGED_IS_KNOWN_MS = 86400000

local answer = state.open(true)
if answer then return answer end
if arg.into == arg.resource then return { 'ok', number(gate.now), gate.life, '', {}, {} } end

local function in_hex(text)
  return (string.gsub(text, '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end))
end

local tickets = {}
local all = redis.call('HGETALL', key.records)
for position = 1, #all, 2 do
  if string.sub(all[position], 1, 1) == 't' then
    local id = string.sub(all[position], 2)
    tickets[#tickets + 1] = { ticket = unpack_ticket(id, all[position + 1]), packed = all[position + 1] }
  end
end
table.sort(tickets, function(a, b)
  if a.ticket.enqueued_at ~= b.ticket.enqueued_at then return a.ticket.enqueued_at < b.ticket.enqueued_at end
  return a.ticket.order < b.ticket.order
end)
local given = {}
for _, found in ipairs(tickets) do
  given[#given + 1] = found.ticket.id
  given[#given + 1] = in_hex(found.packed)
end
redis.call('DEL', key.records, key.index, key.departures)
state.begin(gate.now)
gate.merged_into = arg.into
limits.configure(gate, cjson.decode(arg.settings ~= '' and arg.settings or '{"limits":[]}'), gate.now)
state.write()
redis.call('PEXPIRE', key.state, MERGED_IS_KNOWN_MS)
return { 'ok', number(gate.now), gate.life, '', {}, given }
