-- The live state of one limit. Owns: the choice among the algorithms, and where a meter's bytes tell
-- of it. Mirrors src/core/meters/{meter,create-meter}.ts. Must not know: queues, tickets, leases.
--
-- All meters share the fields algorithm, dimension, amount, window_ms (0: none), capacity, source and
-- rate (a millisecond, in the long run). Amounts are of the dimension; instants are in milliseconds.
-- @include token-bucket
-- @include sliding-window
-- @include fixed-window
-- @include concurrency
-- @include learnt-limit
-- @module
local meters = {}

local ALGORITHMS = {
  token_bucket = token_bucket,
  sliding_window = sliding_window,
  fixed_window = fixed_window,
  concurrency = concurrency,
}

-- By the first byte of a meter: its shape. Of the buckets, 2 has a burst and 3 is learnt; of the fixed
-- windows, 6 follows a calendar.
local SHAPES =
  { token_bucket, token_bucket, learnt_limit, sliding_window, fixed_window, fixed_window, concurrency }

-- By the second byte.
local DIMENSIONS = { 'requests', 'input_tokens', 'output_tokens', 'tokens', 'cost', 'concurrency' }

local function named(m, algorithm, dimension)
  m.algorithm, m.dimension = algorithm, dimension
  for code, name in ipairs(DIMENSIONS) do
    if name == dimension then m.code = code end
  end
  return m
end

function meters.new(limit, now)
  return named(ALGORITHMS[limit.algorithm].new(limit, now), limit.algorithm, limit.dimension)
end

-- A meter of a limit that a provider's answer tells of for the first time.
function meters.learn(observed, now)
  return named(learnt_limit.new(observed, now), 'token_bucket', observed.dimension)
end

-- Takes the settings of another limit of the same algorithm, dimension and window, usage kept.
function meters.adapt(m, limit, now)
  ALGORITHMS[m.algorithm].adapt(m, limit, now)
end

-- The earliest instant at which `amount` may be taken; Infinity when only a lease that ends can tell.
function meters.ready_at(m, amount, now)
  return ALGORITHMS[m.algorithm].ready_at(m, amount, now)
end

function meters.take(m, amount, now)
  ALGORITHMS[m.algorithm].take(m, amount, now)
end

-- Adds `delta` (negative: gives back) to what was taken at `taken_at`.
function meters.correct(m, delta, taken_at, now)
  ALGORITHMS[m.algorithm].correct(m, delta, taken_at, now)
end

-- What may still be taken now; below zero while a debt is being paid.
function meters.remaining(m, now)
  return ALGORITHMS[m.algorithm].remaining(m, now)
end

-- How long until nothing would be lost by forgetting it; what leases hold aside.
function meters.idle_in_ms(m, now)
  return ALGORITHMS[m.algorithm].idle_in_ms(m, now)
end

-- As two strings, the one behind the other.
function meters.write(m)
  return SHAPES[m.shape].write(m)
end

-- Returns the meter at a position of a string, and the position after it.
function meters.read(blob, pos)
  local shape, code = string.byte(blob, pos, pos + 1)
  return SHAPES[shape].read(blob, pos + 2, shape, code, DIMENSIONS[code])
end
