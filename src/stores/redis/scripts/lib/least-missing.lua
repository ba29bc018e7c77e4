-- How full a bucket has been since when. Owns: the least that was missing from full since any
-- instant, in bounded memory. Must not know: rates, who took what.
-- Mirrors src/core/meters/least-missing.ts.
--
-- Each low is the least since the one before it: instants and amounts rise. They are fields of the
-- bucket: `low_at` and `low_missing` of the last (-Infinity when there is none), which is all that most
-- takes touch, and `lows`: those before it, as a string of pairs of doubles, 16 bytes each.
-- @module
local least_missing = {}

-- More are rarely needed; the oldest are joined, at the lesser of what was missing.
local MOST_LOWS_BYTES = 64 * 16

-- Takes the last low out of the string. Returns its instant, its amount and the rest.
local function pop(lows)
  local size = #lows
  if size == 0 then return -math.huge, -math.huge, lows end
  local at, missing = struct.unpack('<dd', lows, size - 15)
  return at, missing, string.sub(lows, 1, size - 16)
end

-- Notes what was missing at an instant, which is not before the last one noted.
function least_missing.note(m, missing, at)
  local last_at, last_missing, lows = m.low_at, m.low_missing, m.lows
  while last_missing >= missing do
    last_at, last_missing, lows = pop(lows)
  end
  if last_at == at then
    m.low_at, m.low_missing, m.lows = last_at, last_missing, lows
    return
  end
  if last_at ~= -math.huge then lows = lows .. struct.pack('<dd', last_at, last_missing) end
  if #lows == MOST_LOWS_BYTES then
    -- The next one's instant, the oldest one's amount, then the rest.
    lows = string.sub(lows, 17, 24) .. string.sub(lows, 9, 16) .. string.sub(lows, 33)
  end
  m.low_at, m.low_missing, m.lows = at, missing, lows
end

-- How many bytes of the lows before the last are not after an instant.
local function bytes_until(lows, at)
  local low, high = 0, #lows / 16
  while low < high do
    local middle = math.floor((low + high) / 2)
    if struct.unpack('<d', lows, middle * 16 + 1) > at then
      high = middle
    else
      low = middle + 1
    end
  end
  return low * 16
end

-- The least that was missing after an instant, as far as noted; Infinity when nothing was.
function least_missing.since(m, at)
  if m.low_at <= at then return math.huge end
  local lows = m.lows
  local bytes = bytes_until(lows, at)
  if bytes == #lows then return m.low_missing end
  return (struct.unpack('<d', lows, bytes + 9))
end

-- Takes out of so many bytes of the lows those at their end that are not below an amount any more.
local function without(lows, bytes, missing)
  while bytes > 0 and struct.unpack('<d', lows, bytes - 7) >= missing do
    bytes = bytes - 16
  end
  return string.sub(lows, 1, bytes)
end

-- It turned out that the bucket was fuller by `amount` ever since an instant.
function least_missing.raise(m, amount, since)
  if m.low_at <= since then return end
  local lows = m.lows
  local bytes = bytes_until(lows, since)
  m.low_missing = m.low_missing - amount
  local doubles = (#lows - bytes) / 8
  if doubles == 0 then
    m.lows = without(lows, bytes, m.low_missing)
    return
  end
  local format = '<' .. string.rep('d', doubles)
  local raised = { struct.unpack(format, lows, bytes + 1) }
  for i = 2, doubles, 2 do
    raised[i] = raised[i] - amount
  end
  m.lows = without(lows, bytes, raised[2]) .. struct.pack(format, unpack(raised))
end
