-- One limit as the provider's answers show it. Owns: fusing what the provider says with what this
-- gate knows it has sent. Mirrors src/core/learnt-limit.ts, which says why. Must not know: headers,
-- tickets, the line.
--
-- Its meter is a token bucket with a table `learnt`: window_ms, window_least, window_most,
-- others_per_ms, observed_at (-1: never), guard, guard_at, floor, and rank: which of the gate's learnt
-- limits came first. A statement `observed` has dimension, amount, remaining, rounded_by, full_in_ms
-- (nil or null: not said) and full_in_error_ms.
-- @include token-bucket
-- @include underway
-- @module
local learnt_limit = {}

local DOCUMENTED_WINDOW_MS = 60000
local LONGEST_WINDOW_MS = 3600000
local FOLLOW_OTHERS_MS = 30000
local MOST_FOR_OTHERS = 0.7
local GUARD_FIRST = 0.01
local GUARD_STEP = 0.04
local GUARD_MOST = 0.25
local GUARD_HALVES_EVERY_MS = 1800000

local function clamp(value, least, most)
  return math.min(math.max(value, least), most)
end

local function keep_back(m)
  m.reserve = m.learnt.guard + m.learnt.floor
end

function learnt_limit.new(observed, now)
  local m = token_bucket.new({ amount = observed.amount, window_ms = DOCUMENTED_WINDOW_MS }, now)
  m.shape = 3
  m.source = 'learnt'
  m.learnt = {
    window_ms = DOCUMENTED_WINDOW_MS,
    window_least = 0,
    window_most = math.huge,
    others_per_ms = 0,
    observed_at = -1,
    guard = observed.dimension == 'requests' and 0 or observed.amount * GUARD_FIRST,
    guard_at = now,
    floor = 0,
    rank = 0,
  }
  return m
end

-- Remaining tokens under which nothing is admitted.
function learnt_limit.set_floor(m, floor)
  m.learnt.floor = floor
  keep_back(m)
end

-- The refill window lies between what the statement's rounding allows. Ranges of many statements are
-- intersected; the documented minute is believed as long as they allow it.
local function learn_window(learnt, observed, age_ms)
  local amount, rounded_by = observed.amount, observed.rounded_by
  local full_in_ms = tonumber(observed.full_in_ms)
  local used = amount - observed.remaining
  if not full_in_ms or used <= 2 * rounded_by or observed.remaining <= rounded_by then return end
  if full_in_ms > LONGEST_WINDOW_MS then return end
  local error_ms = observed.full_in_error_ms
  local least = math.max(0, full_in_ms - error_ms) / ((used + rounded_by) / amount)
  local most = (full_in_ms + error_ms + age_ms) / ((used - rounded_by) / amount)
  local both_least = math.max(least, learnt.window_least)
  local both_most = math.min(most, learnt.window_most)
  if both_least <= both_most then
    least, most = both_least, both_most
  end
  learnt.window_least, learnt.window_most = least, most
  if least <= DOCUMENTED_WINDOW_MS and DOCUMENTED_WINDOW_MS <= most then
    learnt.window_ms = DOCUMENTED_WINDOW_MS
  elseif most < math.huge then
    learnt.window_ms = math.min((least + most) / 2, LONGEST_WINDOW_MS)
  end
end

-- How old the statement may be, at the least and at the most.
local function age_of(learnt, observed, flight_ms)
  local longest = math.max(0, flight_ms)
  local amount, rounded_by = observed.amount, observed.rounded_by
  local full_in_ms = tonumber(observed.full_in_ms)
  local used = amount - observed.remaining
  if not full_in_ms or used <= rounded_by or observed.remaining <= rounded_by then return 0, longest end
  local ms_per_unit = learnt.window_ms / amount
  local error_ms = observed.full_in_error_ms
  local least = clamp((used - rounded_by) * ms_per_unit - full_in_ms - error_ms, 0, longest)
  local most = clamp((used + rounded_by) * ms_per_unit - full_in_ms + error_ms, 0, longest)
  return least, most
end

-- What can be left now, reservations under way taken off: at the least, likely, and at the most.
local function level_now(gate, m, observed, sent_at)
  local now, learnt, dimension = gate.now, m.learnt, m.dimension
  local remaining, rounded_by = observed.remaining, observed.rounded_by
  local rate = observed.amount / learnt.window_ms - learnt.others_per_ms
  local youngest, oldest = age_of(learnt, observed, now - sent_at)
  local most = remaining + rounded_by + rate * oldest - underway.since(gate, dimension, now - youngest)
  local likely_age = (youngest + oldest) / 2
  local likely = remaining + rate * likely_age - underway.since(gate, dimension, now - likely_age)
  local least = remaining - rounded_by + rate * youngest - underway.unconfirmed(gate, dimension)
  return math.min(least, likely), math.min(likely, most), most
end

-- Within what the statement allows, what is believed stands. A level above it has been used by
-- somebody else, who may go on: then the likely level is taken, not the best.
local function fuse(learnt, believed, least, likely, most)
  if learnt.observed_at < 0 then return least end
  if believed > most then return likely end
  return math.max(believed, least)
end

local function follow_others(m, unexplained, now)
  local learnt = m.learnt
  local idle_ms = now - learnt.observed_at
  local most = (m.amount / learnt.window_ms) * MOST_FOR_OTHERS
  local kept = learnt.others_per_ms * math.exp(-idle_ms / (10 * FOLLOW_OTHERS_MS))
  learnt.others_per_ms = clamp(kept + unexplained / FOLLOW_OTHERS_MS, 0, most)
end

local function relax_guard(m, now)
  local learnt = m.learnt
  local first = m.dimension == 'requests' and 0 or m.capacity * GUARD_FIRST
  local faded = 0.5 ^ ((now - learnt.guard_at) / GUARD_HALVES_EVERY_MS)
  learnt.guard = first + (learnt.guard - first) * faded
  learnt.guard_at = now
  keep_back(m)
end

-- Takes in one statement of the provider, made at some instant since `sent_at`.
function learnt_limit.observe(gate, m, observed, sent_at)
  local now, learnt = gate.now, m.learnt
  learn_window(learnt, observed, now - sent_at)
  local least, likely, most = level_now(gate, m, observed, sent_at)
  local believed = token_bucket.remaining(m, now)
  local fused = fuse(learnt, believed, least, likely, most)
  if learnt.observed_at >= 0 then follow_others(m, believed - fused, now) end
  token_bucket.set_level(m, fused, now)
  learnt.observed_at = now
  relax_guard(m, now)
  token_bucket.set_rate(m, observed.amount / learnt.window_ms - learnt.others_per_ms, now)
end

-- Those who were taken for others turned out to be our own.
function learnt_limit.forget_others(m, now)
  m.learnt.others_per_ms = 0
  token_bucket.set_rate(m, m.amount / m.learnt.window_ms, now)
end

-- The provider refused although this limit seemed to have room: keep a little more back.
function learnt_limit.surprised(m)
  local learnt, capacity = m.learnt, m.capacity
  if m.dimension == 'requests' then
    -- A minute's requests may be enforced by the second: halve the burst each time.
    learnt.guard = math.min(capacity - 1, (learnt.guard + capacity) / 2)
  else
    learnt.guard = math.min(learnt.guard + capacity * GUARD_STEP, capacity * GUARD_MOST)
  end
  keep_back(m)
end

function learnt_limit.write(m)
  local learnt = m.learnt
  return struct.pack(
    '<BBdddddddddddddBH',
    3,
    m.code,
    m.amount,
    m.level,
    m.at,
    m.low_at,
    m.low_missing,
    learnt.window_ms,
    learnt.window_least,
    learnt.window_most,
    learnt.others_per_ms,
    learnt.observed_at,
    learnt.guard,
    learnt.guard_at,
    learnt.floor,
    learnt.rank,
    #m.lows
  ),
    m.lows
end

-- What follows from the rest is not kept: the rate, and what is kept back.
function learnt_limit.read(blob, pos, shape, code, dimension)
  local m = {
    algorithm = 'token_bucket',
    dimension = dimension,
    code = code,
    shape = shape,
    window_ms = DOCUMENTED_WINDOW_MS,
    source = 'learnt',
  }
  local learnt = {}
  m.amount, m.level, m.at, m.low_at, m.low_missing, learnt.window_ms, learnt.window_least, learnt.window_most, learnt.others_per_ms, learnt.observed_at, learnt.guard, learnt.guard_at, learnt.floor, learnt.rank, m.lows, pos =
    struct.unpack('<dddddddddddddBHc0', blob, pos)
  m.learnt = learnt
  m.capacity = m.amount
  m.rate = m.amount / learnt.window_ms - learnt.others_per_ms
  keep_back(m)
  return m, pos
end
