-- Applies a list of operations to one gate's limits, and answers what each returned. Numbers are
-- answered with all their digits. Behind each operation the gate is written and read again, as it
-- would be between two scripts.
local gate = { now = 0 }
local tickets = {}

local function name_of(m)
  return m and m.source .. ' ' .. m.algorithm .. ' ' .. m.dimension or 'nothing'
end

local operations = {}

function operations.configure(op)
  limits.configure(gate, op.settings, gate.now)
end

function operations.needs_calendar()
  return limits.needs_calendar(gate)
end

-- Of one meter

function operations.meter_ready_at(op)
  return meters.ready_at(gate.meters[1], op.amount, gate.now)
end

function operations.meter_take(op)
  meters.take(gate.meters[1], op.amount, gate.now)
end

function operations.meter_correct(op)
  meters.correct(gate.meters[1], op.delta, op.taken_at, gate.now)
end

function operations.meter_remaining()
  return meters.remaining(gate.meters[1], gate.now)
end

-- Of all

function operations.ready_at(op)
  local at, bound_by = limits.ready_at(gate, op.cost)
  return at, name_of(gate.meters[bound_by])
end

function operations.ready_in_long_run(op)
  local at, bound_by = limits.ready_in_long_run(gate, op.ahead, op.cost)
  return at, name_of(gate.meters[bound_by])
end

function operations.share_of(op)
  return limits.share_of(gate, op.cost)
end

function operations.charge(op)
  limits.charge(gate, op.cost)
end

function operations.is_full()
  return limits.is_full(gate)
end

function operations.idle_in_ms()
  return limits.idle_in_ms(gate)
end

function operations.snapshot()
  local told = {}
  for _, m in ipairs(gate.meters) do
    local learnt = m.learnt or { window_ms = m.window_ms, guard = 0, others_per_ms = 0 }
    told[#told + 1] = m.dimension
    told[#told + 1] = m.amount
    told[#told + 1] = math.floor(meters.remaining(m, gate.now) + 1e-6)
    told[#told + 1] = learnt.window_ms
    told[#told + 1] = math.floor(learnt.guard + 0.5)
    told[#told + 1] = math.floor(learnt.others_per_ms * 60000 + 0.5)
  end
  return unpack(told)
end

-- Leases

function operations.hold(op)
  local ticket = { estimate = op.cost, produced = -1, granted_at = gate.now }
  tickets[op.id] = ticket
  limits.take(gate, op.cost)
  if gate.learns then underway.depart(gate, ticket) end
end

function operations.rejoin(op)
  local ticket = { estimate = op.cost, produced = -1, granted_at = gate.now }
  tickets[op.id] = ticket
  limits.take_slot(gate)
  if gate.learns then underway.add(gate, ticket) end
end

function operations.revise(op)
  local ticket = tickets[op.id]
  limits.correct(gate, ticket.estimate, op.cost, ticket.granted_at)
  if gate.learns then underway.remove(gate, ticket) end
  ticket.estimate, ticket.produced = op.cost, op.produced
  if gate.learns then underway.add(gate, ticket) end
end

function operations.settle(op)
  local ticket = tickets[op.id]
  if gate.learns then underway.remove(gate, ticket) end
  limits.correct(gate, ticket.estimate, op.cost, ticket.granted_at)
  limits.free_slot(gate, ticket.granted_at)
end

function operations.give_back(op)
  local ticket = tickets[op.id]
  if gate.learns then underway.remove(gate, ticket) end
  limits.give_back(gate, ticket.estimate, ticket.granted_at)
  if gate.learns then underway.undo_departure(gate, ticket) end
end

-- Many that come and go.
function operations.depart_often(op)
  for _ = 1, op.times do
    gate.now = gate.now + op.gap_ms
    local ticket = { estimate = op.cost, produced = -1 }
    underway.depart(gate, ticket)
    underway.remove(gate, ticket)
  end
end

function operations.since(op)
  return underway.since(gate, op.dimension, op.at)
end

function operations.remembered()
  return redis.call('ZCARD', key.departures), redis.call('PTTL', key.departures) > 0
end

-- As a server that has let go of the log.
function operations.lose_departures()
  redis.call('DEL', key.departures)
end

-- As a server that has let go of the state, and not of the log.
function operations.forget_gate()
  gate = { now = gate.now }
end

-- What is learnt

function operations.fuse(op)
  return limits.fuse(gate, op.observed, op.sent_at)
end

function operations.surprised()
  limits.surprised(gate)
end

function operations.forget_others()
  limits.forget_others(gate)
end

-- Restraints that are not limits

function operations.ramp_start(op)
  ramp.start(gate.ramp, ramp[op.settings])
end

function operations.ramp_open()
  ramp.open(gate.ramp)
end

function operations.ramp_ready_at()
  return ramp.ready_at(gate.ramp, gate.now)
end

function operations.ramp_admitted()
  ramp.admitted(gate.ramp, gate.now)
end

function operations.succeeded(op)
  ramp.succeeded(gate.ramp)
  overload.succeeded(gate.overload, op.first_answer_ms, gate.now)
end

function operations.overloaded(op)
  overload.overloaded(gate.overload, op.in_flight, gate.now)
end

function operations.overload(op)
  local o, now = gate.overload, gate.now
  return o.limit, overload.admits(o, op.in_flight), overload.remembers(o, now), overload.idle_in_ms(gate)
end

function operations.bytes()
  return #limits.write(gate)
end

local function written_and_read()
  if not gate.meters then return end
  local blob = limits.write(gate)
  local fresh = { now = gate.now }
  local pos = limits.read(fresh, 'xyz' .. blob .. 'rest', 4)
  if pos ~= #blob + 4 or limits.write(fresh) ~= blob then error('not read as it was written') end
  gate = fresh
end

local function spelt(values, count)
  local texts = {}
  for i = 1, count do
    local value = values[i]
    texts[i] = type(value) == 'number' and string.format('%.17g', value) or tostring(value)
  end
  return texts
end

local function collect(...)
  return spelt({ ... }, select('#', ...))
end

local answers = {}
for i, op in ipairs(cjson.decode(ARGV[1])) do
  if op.now then gate.now = op.now end
  answers[i] = collect(operations[op.op](op))
  written_and_read()
end
return answers
