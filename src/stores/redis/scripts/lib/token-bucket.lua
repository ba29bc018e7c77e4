-- A level that refills continuously, and may be in debt. Mirrors src/core/meters/token-bucket.ts.
-- Must not know: what is metered, who takes.
--
-- Fields of its own: `level`, `at`, `reserve`, and those of least-missing.lua.
-- @include least-missing
-- @module
local token_bucket = {}

-- A wait shorter than this is none: see the TypeScript.
local NO_WAIT_MS = 0.001

function token_bucket.new(limit, now)
  local capacity = limit.burst or limit.amount
  return {
    shape = limit.burst and 2 or 1,
    amount = limit.amount,
    window_ms = limit.window_ms,
    capacity = capacity,
    source = 'configured',
    rate = limit.amount / limit.window_ms,
    level = capacity,
    at = now,
    reserve = 0,
    low_at = -math.huge,
    low_missing = -math.huge,
    lows = '',
  }
end

local function refill(m, now)
  local elapsed_ms = now - m.at
  if elapsed_ms <= 0 then return end
  local level = m.level + elapsed_ms * m.rate
  m.level = level < m.capacity and level or m.capacity
  m.at = now
end

function token_bucket.set_rate(m, rate, now)
  refill(m, now)
  m.rate = rate
end

function token_bucket.set_level(m, level, now)
  refill(m, now)
  least_missing.note(m, m.capacity - m.level, m.at)
  m.level = level < m.capacity and level or m.capacity
end

function token_bucket.ready_at(m, amount, now)
  refill(m, now)
  local wanted = amount + m.reserve
  if wanted > m.capacity then wanted = m.capacity end
  local missing = wanted - m.level
  if missing <= 0 then return now end
  local wait_ms = missing / m.rate
  return wait_ms < NO_WAIT_MS and now or now + wait_ms
end

function token_bucket.take(m, amount, now)
  refill(m, now)
  least_missing.note(m, m.capacity - m.level, m.at)
  m.level = m.level - amount
end

function token_bucket.correct(m, delta, taken_at, now)
  if delta >= 0 then return token_bucket.take(m, delta, now) end
  refill(m, now)
  local given = math.min(-delta, m.capacity - m.level, least_missing.since(m, taken_at))
  if given ~= 0 then least_missing.raise(m, given, taken_at) end
  m.level = m.level + given
end

function token_bucket.remaining(m, now)
  refill(m, now)
  return m.level
end

-- Until it is full, and nothing would be lost by forgetting it.
function token_bucket.idle_in_ms(m, now)
  refill(m, now)
  return (m.capacity - m.level) / m.rate
end

-- Takes the amount and burst of another limit: what is missing stays so.
function token_bucket.adapt(m, limit, now)
  local capacity = limit.burst or limit.amount
  -- Left alone, so that not even a rounding tells that its settings were sent again.
  if limit.amount == m.amount and capacity == m.capacity then return end
  refill(m, now)
  m.level = m.level + (capacity - m.capacity)
  m.shape = limit.burst and 2 or 1
  m.amount, m.capacity, m.rate = limit.amount, capacity, limit.amount / limit.window_ms
end

-- In two parts, so that a long one is not copied on its way.
function token_bucket.write(m)
  if m.shape == 1 then
    return struct.pack(
      '<BBddddddH',
      1,
      m.code,
      m.amount,
      m.window_ms,
      m.level,
      m.at,
      m.low_at,
      m.low_missing,
      #m.lows
    ),
      m.lows
  end
  return struct.pack(
    '<BBdddddddH',
    2,
    m.code,
    m.amount,
    m.window_ms,
    m.level,
    m.at,
    m.low_at,
    m.low_missing,
    m.capacity,
    #m.lows
  ),
    m.lows
end

function token_bucket.read(blob, pos, shape, code, dimension)
  local amount, window_ms, level, at, low_at, low_missing, capacity, lows
  if shape == 1 then
    amount, window_ms, level, at, low_at, low_missing, lows, pos =
      struct.unpack('<ddddddHc0', blob, pos)
    capacity = amount
  else
    amount, window_ms, level, at, low_at, low_missing, capacity, lows, pos =
      struct.unpack('<dddddddHc0', blob, pos)
  end
  return {
    algorithm = 'token_bucket',
    dimension = dimension,
    shape = shape,
    code = code,
    amount = amount,
    window_ms = window_ms,
    capacity = capacity,
    source = 'configured',
    rate = amount / window_ms,
    level = level,
    at = at,
    reserve = 0,
    low_at = low_at,
    low_missing = low_missing,
    lows = lows,
  },
    pos
end
