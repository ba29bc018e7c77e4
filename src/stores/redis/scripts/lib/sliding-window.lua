-- Never more than an amount in any span of a window, counted by slots of a sixtieth of it. Mirrors
-- src/core/meters/sliding-window.ts. Must not know: what is metered, who takes.
--
-- Fields of its own: `slot_ms`, `newest` (the slot in progress), `present` (what was taken in it),
-- `used`, and `older`: the slots before that hold anything, as a string of pairs of doubles, number
-- and amount, the oldest first.
-- @module
local sliding_window = {}

local SLOTS = 60
-- Slots begin this part of one early: see the TypeScript.
local EARLY = 0.001

function sliding_window.new(limit)
  return {
    shape = 4,
    amount = limit.amount,
    window_ms = limit.window_ms,
    capacity = limit.amount,
    source = 'configured',
    rate = limit.amount / limit.window_ms,
    slot_ms = limit.window_ms / SLOTS,
    newest = -math.huge,
    present = 0,
    used = 0,
    older = '',
  }
end

-- The first instant at which every part of a slot is out of the window.
local function leaves_at(m, slot)
  return (slot + SLOTS + 1) * m.slot_ms
end

-- How many bytes of the older slots are before a slot.
local function bytes_before(older, slot)
  local low, high = 0, #older / 16
  while low < high do
    local middle = math.floor((low + high) / 2)
    if struct.unpack('<d', older, middle * 16 + 1) < slot then
      low = middle + 1
    else
      high = middle
    end
  end
  return low * 16
end

-- Adds up in the order of the ring that the TypeScript keeps, so that fractions come out the same.
local function sum_of(older, newest)
  local doubles = #older / 8
  local fields = { struct.unpack('<' .. string.rep('d', doubles), older) }
  local ring_begins = newest - newest % (SLOTS + 1)
  local first = 1
  while first < doubles and fields[first] < ring_begins do
    first = first + 2
  end
  local sum = 0
  for i = first + 1, doubles, 2 do
    sum = sum + fields[i]
  end
  for i = 2, first - 1, 2 do
    sum = sum + fields[i]
  end
  return sum
end

local function slide_to(m, now)
  local slot, newest = math.floor(now / m.slot_ms + EARLY), m.newest
  if slot <= newest then return end
  local older = ''
  if slot - newest <= SLOTS then
    older = m.older
    if m.present ~= 0 then older = older .. struct.pack('<dd', newest, m.present) end
    older = string.sub(older, bytes_before(older, slot - SLOTS) + 1)
  end
  m.newest, m.present, m.older = slot, 0, older
  m.used = older == '' and 0 or sum_of(older, slot)
end

function sliding_window.ready_at(m, amount, now)
  slide_to(m, now)
  local surplus = m.used + (amount < m.amount and amount or m.amount) - m.amount
  if surplus <= 0 then return now end
  local older = m.older
  for pos = 1, #older, 16 do
    local slot, taken = struct.unpack('<dd', older, pos)
    surplus = surplus - taken
    if surplus <= 0 then return leaves_at(m, slot) end
  end
  return leaves_at(m, m.newest)
end

function sliding_window.take(m, amount, now)
  slide_to(m, now)
  m.present = m.present + amount
  m.used = m.used + amount
end

function sliding_window.correct(m, delta, taken_at, now)
  slide_to(m, now)
  local slot = math.floor(taken_at / m.slot_ms + EARLY)
  if slot < m.newest - SLOTS then return end
  m.used = m.used + delta
  if slot >= m.newest then
    m.present = m.present + delta
    return
  end
  local older = m.older
  local bytes = bytes_before(older, slot)
  local taken, after = 0, bytes
  if bytes < #older then
    local found, amount = struct.unpack('<dd', older, bytes + 1)
    if found == slot then
      taken, after = amount, bytes + 16
    end
  end
  m.older = string.sub(older, 1, bytes)
    .. struct.pack('<dd', slot, taken + delta)
    .. string.sub(older, after + 1)
end

function sliding_window.remaining(m, now)
  slide_to(m, now)
  return m.amount - m.used
end

-- Until nothing that was taken is in the window any more, or a slot later.
function sliding_window.idle_in_ms(m, now)
  slide_to(m, now)
  return m.used == 0 and 0 or m.window_ms + m.slot_ms
end

-- Takes the amount of another limit: what is used stays so.
function sliding_window.adapt(m, limit)
  m.amount, m.capacity, m.rate = limit.amount, limit.amount, limit.amount / limit.window_ms
end

-- In two parts, so that a long one is not copied on its way.
function sliding_window.write(m)
  return struct.pack(
    '<BBdddddH',
    4,
    m.code,
    m.amount,
    m.window_ms,
    m.newest,
    m.present,
    m.used,
    #m.older
  ),
    m.older
end

function sliding_window.read(blob, pos, shape, code, dimension)
  local amount, window_ms, newest, present, used, older
  amount, window_ms, newest, present, used, older, pos = struct.unpack('<dddddHc0', blob, pos)
  return {
    algorithm = 'sliding_window',
    dimension = dimension,
    code = code,
    shape = shape,
    amount = amount,
    window_ms = window_ms,
    capacity = amount,
    source = 'configured',
    rate = amount / window_ms,
    slot_ms = window_ms / SLOTS,
    newest = newest,
    present = present,
    used = used,
    older = older,
  },
    pos
end
