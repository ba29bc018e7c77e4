-- An amount in each window of the calendar. Mirrors src/core/meters/fixed-window.ts. Must not know:
-- what is metered, who takes, time zones.
--
-- Fields of its own: `start_at`, `end_at`, `used`. Days and months in a time zone are worked out by
-- those who send the settings: then `windows` is a string of pairs of doubles, start and end, of the
-- windows to come. Where they end, fresh settings are needed.
-- @module
local fixed_window = {}

local MOST_WINDOWS = 4

local function pack_windows(windows)
  local packed = ''
  for i = 1, math.min(#windows, MOST_WINDOWS) do
    packed = packed .. struct.pack('<dd', windows[i].start_at, windows[i].end_at)
  end
  return packed
end

function fixed_window.new(limit)
  return {
    shape = limit.windows and 6 or 5,
    amount = limit.amount,
    window_ms = limit.window_ms,
    capacity = limit.amount,
    source = 'configured',
    rate = limit.amount / limit.window_ms,
    start_at = -math.huge,
    end_at = -math.huge,
    used = 0,
    windows = limit.windows and pack_windows(limit.windows),
  }
end

-- The bounds of the window to come that holds an instant, and what comes after it; nil when none does.
local function window_to_come(windows, now)
  for pos = 1, #windows, 16 do
    local start_at, end_at = struct.unpack('<dd', windows, pos)
    if start_at <= now and now < end_at then return start_at, end_at, string.sub(windows, pos + 16) end
  end
  return nil
end

-- Whether no window is known that holds an instant.
function fixed_window.needs_calendar(m, now)
  return m.windows and now >= m.end_at and not window_to_come(m.windows, now)
end

local function enter(m, now)
  if now < m.end_at then return end
  if m.windows then
    local start_at, end_at, windows = window_to_come(m.windows, now)
    -- An operation asks for settings before it comes to this.
    if not start_at then return end
    m.start_at, m.end_at, m.windows = start_at, end_at, windows
  else
    m.start_at = math.floor(now / m.window_ms) * m.window_ms
    m.end_at = m.start_at + m.window_ms
  end
  m.used = 0
end

function fixed_window.ready_at(m, amount, now)
  enter(m, now)
  local fits = m.used + (amount < m.amount and amount or m.amount) <= m.amount
  return fits and now or m.end_at
end

function fixed_window.take(m, amount, now)
  enter(m, now)
  m.used = m.used + amount
end

function fixed_window.correct(m, delta, taken_at, now)
  enter(m, now)
  if taken_at >= m.start_at then m.used = m.used + delta end
end

function fixed_window.remaining(m, now)
  enter(m, now)
  return m.amount - m.used
end

function fixed_window.idle_in_ms(m, now)
  enter(m, now)
  return m.used == 0 and 0 or m.end_at - now
end

local function includes(windows, start_at, end_at)
  for _, window in ipairs(windows) do
    if window.start_at == start_at and window.end_at == end_at then return true end
  end
  return false
end

-- Takes the amount of another limit, and its calendar. What is used stays so as long as the window in
-- force is one of that calendar's, too.
function fixed_window.adapt(m, limit)
  m.amount, m.capacity, m.rate = limit.amount, limit.amount, limit.amount / limit.window_ms
  if not limit.windows then return end
  m.windows = pack_windows(limit.windows)
  if includes(limit.windows, m.start_at, m.end_at) then return end
  m.start_at, m.end_at, m.used = -math.huge, -math.huge, 0
end

function fixed_window.write(m)
  if m.shape == 5 then
    return struct.pack('<BBdddd', 5, m.code, m.amount, m.window_ms, m.start_at, m.used), ''
  end
  return struct.pack(
    '<BBdddddB',
    6,
    m.code,
    m.amount,
    m.window_ms,
    m.start_at,
    m.used,
    m.end_at,
    #m.windows
  ),
    m.windows
end

function fixed_window.read(blob, pos, shape, code, dimension)
  local amount, window_ms, start_at, used, end_at, windows
  if shape == 5 then
    amount, window_ms, start_at, used, pos = struct.unpack('<dddd', blob, pos)
    end_at = start_at + window_ms
  else
    amount, window_ms, start_at, used, end_at, windows, pos = struct.unpack('<dddddBc0', blob, pos)
  end
  return {
    algorithm = 'fixed_window',
    dimension = dimension,
    code = code,
    shape = shape,
    amount = amount,
    window_ms = window_ms,
    capacity = amount,
    source = 'configured',
    rate = amount / window_ms,
    start_at = start_at,
    end_at = end_at,
    used = used,
    windows = windows,
  },
    pos
end
