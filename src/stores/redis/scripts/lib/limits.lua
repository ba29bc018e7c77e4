-- The limits of one resource, taken together or not at all. Owns: the configured and the learnt
-- meters, and what a cost means to all of them. Mirrors src/core/limit-stack.ts. Must not know:
-- tickets, the line, pauses.
--
-- `gate.meters` has the configured meters, then the learnt ones. A cost has a field for each dimension
-- that is consumed; of concurrency, which it has not, anything takes 1. The present is `gate.now`.
-- @include meters
-- @include limit-settings
-- @include limit-codec
-- @module
local limits = {
  configure = limit_settings.configure,
  extend = limit_settings.extend,
  needs_calendar = limit_settings.needs_calendar,
  read = limit_codec.read,
  write = limit_codec.write,
}

-- The earliest instant at which every limit admits a cost, and the index of the last to: 0 for none.
function limits.ready_at(gate, cost)
  local now, all = gate.now, gate.meters
  local ready_at, bound_by = now, 0
  for i = 1, #all do
    local m = all[i]
    local at = meters.ready_at(m, cost[m.dimension] or 1, now)
    if at > ready_at then
      ready_at, bound_by = at, i
    end
  end
  if gate.slow_until > ready_at then return gate.slow_until, gate.slowed_by end
  return ready_at, bound_by
end

-- Under the soft floor, the next admission waits until the refill has made up for this one twice. Of
-- two that ask for the same wait, the one that was learnt first is named.
local function slow_down(gate, cost)
  local now, soft, slowed_rank = gate.now, gate.floor_soft, 0
  for i, m in ipairs(gate.meters) do
    local is_low = m.learnt and m.dimension ~= 'requests' and meters.remaining(m, now) < soft
    local repaid_at = is_low and now + (2 * math.min(cost[m.dimension], soft)) / m.rate or -math.huge
    local is_tie = repaid_at == gate.slow_until and is_low and m.learnt.rank < slowed_rank
    if repaid_at > gate.slow_until or is_tie then
      gate.slow_until, gate.slowed_by, slowed_rank = repaid_at, i, m.learnt.rank
    end
  end
end

function limits.take(gate, cost)
  local now, all = gate.now, gate.meters
  for i = 1, #all do
    local m = all[i]
    meters.take(m, cost[m.dimension] or 1, now)
  end
  if gate.floor_soft > 0 then slow_down(gate, cost) end
end

-- Takes a slot for a lease whose cost is counted already.
function limits.take_slot(gate)
  for _, m in ipairs(gate.meters) do
    if m.dimension == 'concurrency' then meters.take(m, 1, gate.now) end
  end
end

-- Counts what was consumed without having been admitted here: no slot, and no pace to slow down.
function limits.charge(gate, cost)
  for _, m in ipairs(gate.meters) do
    if m.dimension ~= 'concurrency' then meters.take(m, cost[m.dimension], gate.now) end
  end
end

-- Moves the meters from what was taken at `taken_at` to another cost.
function limits.correct(gate, from, to, taken_at)
  local now, all = gate.now, gate.meters
  for i = 1, #all do
    local m = all[i]
    local dimension = m.dimension
    if dimension ~= 'concurrency' and to[dimension] ~= from[dimension] then
      meters.correct(m, to[dimension] - from[dimension], taken_at, now)
    end
  end
end

-- Gives back all that a cost took, its slot included.
function limits.give_back(gate, cost, taken_at)
  for _, m in ipairs(gate.meters) do
    meters.correct(m, -(cost[m.dimension] or 1), taken_at, gate.now)
  end
end

function limits.free_slot(gate, taken_at)
  for _, m in ipairs(gate.meters) do
    if m.dimension == 'concurrency' then meters.correct(m, -1, taken_at, gate.now) end
  end
end

-- When a sum of amounts has come through, however much larger than the limit it is.
local function meter_ready_in_long_run(m, amount, now)
  local missing = amount - meters.remaining(m, now)
  if missing <= 0 then return now end
  return math.max(meters.ready_at(m, amount, now), now + missing / m.rate)
end

-- When all that is ahead and a cost of its own have come through, and the index of the limit that it
-- waits for: 0 for none.
function limits.ready_in_long_run(gate, ahead, cost)
  local now = gate.now
  local ready_at, bound_by = math.max(now, gate.slow_until), 0
  for i, m in ipairs(gate.meters) do
    local dimension = m.dimension
    if dimension ~= 'concurrency' then
      local own = math.min(cost[dimension], m.capacity)
      local at = meter_ready_in_long_run(m, ahead[dimension] + own, now)
      if at > ready_at then
        ready_at, bound_by = at, i
      end
    end
  end
  return ready_at, bound_by
end

-- Turns that take nothing of any known limit are weighed as if limits were of this usual size.
local function usual_share(cost)
  return math.max(
    cost.requests / 1000,
    cost.input_tokens / 1000000,
    cost.output_tokens / 200000,
    cost.tokens / 1200000
  )
end

-- The largest fraction that a cost takes of any limit.
function limits.share_of(gate, cost)
  local share, all = 0, gate.meters
  for i = 1, #all do
    local m = all[i]
    if m.dimension ~= 'concurrency' and m.amount > 0 then
      local part = cost[m.dimension] / m.amount
      if part > share then share = part end
    end
  end
  return share > 0 and share or usual_share(cost)
end

local function learnt_of(gate, dimension)
  for _, m in ipairs(gate.meters) do
    if m.learnt and m.dimension == dimension then return m end
  end
  return nil
end

-- Adds the meter of a limit that is new, or whose amount is. It keeps the rank of the one before it,
-- and stands for that as the one that slowed the line down.
local function learn(gate, observed, before)
  local m = meters.learn(observed, gate.now)
  limit_settings.set_floor(gate, m)
  local all, rank, slower = {}, 1, gate.meters[gate.slowed_by]
  for _, other in ipairs(gate.meters) do
    if other ~= before then all[#all + 1] = other end
    if other.learnt then rank = rank + 1 end
  end
  all[#all + 1] = m
  m.learnt.rank = before and before.learnt.rank or rank
  if before and slower == before then slower = m end
  limit_settings.replace_meters(gate, all, slower)
  return m
end

-- Takes in what a provider's answer says of its limits. Returns whether it says anything.
function limits.fuse(gate, stated, sent_at)
  for _, observed in ipairs(stated) do
    if observed.amount > 0 then
      local m = learnt_of(gate, observed.dimension)
      if not m or m.amount ~= observed.amount then m = learn(gate, observed, m) end
      learnt_limit.observe(gate, m, observed, sent_at)
      gate.learnt_at = gate.now
    end
  end
  return gate.learnt_at == gate.now and #stated > 0
end

-- The provider refused although there seemed to be room. Most likely it was the learnt limit with the
-- least room left (of two, the one learnt first); where all have plenty, requests, which some enforce
-- by the second.
function limits.surprised(gate)
  local tightest, least_room, is_tight = learnt_of(gate, 'requests'), 0.5, false
  for _, m in ipairs(gate.meters) do
    if m.learnt then
      local room = meters.remaining(m, gate.now) / m.capacity
      local is_tie = is_tight and room == least_room and m.learnt.rank < tightest.learnt.rank
      if room < least_room or is_tie then
        tightest, least_room, is_tight = m, room, true
      end
    end
  end
  if tightest then learnt_limit.surprised(tightest) end
end

function limits.forget_others(gate)
  for _, m in ipairs(gate.meters) do
    if m.learnt then learnt_limit.forget_others(m, gate.now) end
  end
end

function limits.is_full(gate)
  for _, m in ipairs(gate.meters) do
    if meters.remaining(m, gate.now) < m.capacity then return false end
  end
  return true
end

-- How long until nothing would be lost by forgetting the configured limits; leases aside.
function limits.idle_in_ms(gate)
  local longest = 0
  for _, m in ipairs(gate.meters) do
    if not m.learnt then longest = math.max(longest, meters.idle_in_ms(m, gate.now)) end
  end
  return longest
end
