-- The settings of a gate's limits, at its beginning and when they change. Owns: which meter goes on
-- under which limit. Must not know: tickets, the line, what is in use.
-- @include meters
-- @include underway
-- @include ramp
-- @include overload
-- @module
local limit_settings = {}

-- The learnt meter that slowed the line down is known by its index.
function limit_settings.replace_meters(gate, all, slower)
  gate.meters = all
  gate.slowed_by = 0
  for i, m in ipairs(all) do
    if m == slower then gate.slowed_by = i end
  end
end

-- Remaining tokens under which nothing is admitted: of a small limit, never more than half of it.
function limit_settings.set_floor(gate, m)
  if m.dimension == 'requests' then return end
  learnt_limit.set_floor(m, math.min(gate.floor_hard, m.amount / 2))
end

local function begin(gate)
  gate.meters = {}
  gate.learnt_at = -math.huge
  gate.slow_until = -math.huge
  gate.slowed_by = 0
  gate.ramp = ramp.new()
  gate.overload = overload.new()
end

local function is_same(m, limit)
  return m.algorithm == limit.algorithm
    and m.dimension == limit.dimension
    and m.window_ms == (limit.window_ms or 0)
    and (m.windows ~= nil) == (limit.windows ~= nil)
end

-- Takes the meter out of `before` that went under the same limit, its amount aside.
local function successor(before, limit, now)
  for i, m in ipairs(before) do
    if is_same(m, limit) then
      meters.adapt(m, limit, now)
      return table.remove(before, i)
    end
  end
  local m = meters.new(limit, now)
  -- As in the TypeScript, where a gate may begin with something used.
  if m.dimension ~= 'concurrency' then meters.take(m, 0, now) end
  return m
end

-- A gate that is to learn starts slowly, and counts what it sends. One that no longer learns holds
-- nobody to what it learnt.
local function set_learning(gate, learns)
  if learns and not gate.learns then
    ramp.start(gate.ramp, ramp.COLD_START)
    underway.begin(gate)
  end
  if not learns then gate.underway = nil end
  gate.learns = learns
end

-- Begins the limits of a gate, or puts new settings in force: `settings` has limits, learns, floor_soft
-- and floor_hard. What is used stays so wherever only an amount has changed.
function limit_settings.configure(gate, settings, now)
  if not gate.meters then begin(gate) end
  local slower = gate.meters[gate.slowed_by]
  set_learning(gate, settings.learns == true)
  gate.floor_soft, gate.floor_hard = settings.floor_soft or 0, settings.floor_hard or 0
  local before, learnt, all = {}, {}, {}
  for _, m in ipairs(gate.meters) do
    local kind = m.learnt and learnt or before
    kind[#kind + 1] = m
  end
  for _, limit in ipairs(settings.limits) do
    all[#all + 1] = successor(before, limit, now)
  end
  for _, m in ipairs(gate.learns and learnt or {}) do
    limit_settings.set_floor(gate, m)
    all[#all + 1] = m
  end
  limit_settings.replace_meters(gate, all, slower)
end

-- Lets calendar windows go on by settings that are older than those in force: they know the calendar,
-- and nothing else of theirs counts.
function limit_settings.extend(gate, settings)
  for _, limit in ipairs(settings.limits) do
    for _, m in ipairs(gate.meters) do
      if limit.windows and m.windows and is_same(m, limit) then
        limit.amount = m.amount
        meters.adapt(m, limit, gate.now)
      end
    end
  end
end

-- Whether some limit follows a calendar of which too little is known here.
function limit_settings.needs_calendar(gate)
  local now, all = gate.now, gate.meters
  for i = 1, #all do
    local m = all[i]
    if m.windows and fixed_window.needs_calendar(m, now) then return true end
  end
  return false
end
