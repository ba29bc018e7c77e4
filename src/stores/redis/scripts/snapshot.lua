-- How the gate stands.
-- @include gate
-- @answer leases, waiting tickets, next admission, binding, end of the pause, concurrency limit,
--   arrival of the oldest ('' where there is none of these), then each limit: dimension, amount,
--   window, remaining, source, guard, what others take a minute ('' where it is not learnt)
local answer = open_known()
if answer then return answer end

-- What refills by fractions may miss a whole by the last digits of a double.
local ROUNDING = 1e-6

local function or_none(at, exists)
  return exists and number(at) or ''
end

local function limit_of(m)
  local learnt = m.learnt
  local window_ms = learnt and learnt.window_ms or m.window_ms
  local described = {
    m.dimension,
    number(m.amount),
    m.algorithm == 'concurrency' and '' or number(window_ms),
    number(math.floor(meters.remaining(m, gate.now) + ROUNDING)),
    m.source,
  }
  if learnt then
    described[6] = number(math.floor(learnt.guard + 0.5))
    described[7] = number(math.floor(learnt.others_per_ms * 60000 + 0.5))
  end
  return described
end

return show(function()
  local described = {}
  for position, m in ipairs(gate.meters) do
    described[position] = limit_of(m)
  end
  local oldest = index.first('E')
  local _, enqueued_at
  if oldest then _, enqueued_at = index.read_timed(oldest) end
  return {
    number(gate.held),
    number(gate.tickets - gate.held),
    or_none(gate.next_at, gate.next_at ~= NEVER),
    binding(gate.bound_kind, gate.bound_index),
    or_none(gate.paused_until, gate.paused_until > gate.now),
    or_none(math.floor(gate.overload.limit), gate.overload.limit ~= NEVER),
    or_none(enqueued_at, oldest),
    described,
  }
end)
