// Written by scripts/build-lua.mjs from scripts/*.lua: edit those.
import type { CostVector } from '../../core/cost.ts'
import { doubles, type Script } from './script.ts'

const lib = {
  clock: `-- lib/clock
local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end
-- end lib/clock
`,
  leastMissing: `-- lib/least-missing
local least_missing
do
least_missing = {}
local MOST_LOWS_BYTES = 64 * 16
local function pop(lows)
  local size = #lows
  if size == 0 then return -math.huge, -math.huge, lows end
  local at, missing = struct.unpack('<dd', lows, size - 15)
  return at, missing, string.sub(lows, 1, size - 16)
end
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
    lows = string.sub(lows, 17, 24) .. string.sub(lows, 9, 16) .. string.sub(lows, 33)
  end
  m.low_at, m.low_missing, m.lows = at, missing, lows
end
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
function least_missing.since(m, at)
  if m.low_at <= at then return math.huge end
  local lows = m.lows
  local bytes = bytes_until(lows, at)
  if bytes == #lows then return m.low_missing end
  return (struct.unpack('<d', lows, bytes + 9))
end
local function without(lows, bytes, missing)
  while bytes > 0 and struct.unpack('<d', lows, bytes - 7) >= missing do
    bytes = bytes - 16
  end
  return string.sub(lows, 1, bytes)
end
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
end
-- end lib/least-missing
`,
  tokenBucket: `-- lib/token-bucket
local token_bucket
do
token_bucket = {}
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
function token_bucket.idle_in_ms(m, now)
  refill(m, now)
  return (m.capacity - m.level) / m.rate
end
function token_bucket.adapt(m, limit, now)
  local capacity = limit.burst or limit.amount
  if limit.amount == m.amount and capacity == m.capacity then return end
  refill(m, now)
  m.level = m.level + (capacity - m.capacity)
  m.shape = limit.burst and 2 or 1
  m.amount, m.capacity, m.rate = limit.amount, capacity, limit.amount / limit.window_ms
end
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
end
-- end lib/token-bucket
`,
  slidingWindow: `-- lib/sliding-window
local sliding_window
do
sliding_window = {}
local SLOTS = 60
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
local function leaves_at(m, slot)
  return (slot + SLOTS + 1) * m.slot_ms
end
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
function sliding_window.idle_in_ms(m, now)
  slide_to(m, now)
  return m.used == 0 and 0 or m.window_ms + m.slot_ms
end
function sliding_window.adapt(m, limit)
  m.amount, m.capacity, m.rate = limit.amount, limit.amount, limit.amount / limit.window_ms
end
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
end
-- end lib/sliding-window
`,
  fixedWindow: `-- lib/fixed-window
local fixed_window
do
fixed_window = {}
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
local function window_to_come(windows, now)
  for pos = 1, #windows, 16 do
    local start_at, end_at = struct.unpack('<dd', windows, pos)
    if start_at <= now and now < end_at then return start_at, end_at, string.sub(windows, pos + 16) end
  end
  return nil
end
function fixed_window.needs_calendar(m, now)
  return m.windows and now >= m.end_at and not window_to_come(m.windows, now)
end
local function enter(m, now)
  if now < m.end_at then return end
  if m.windows then
    local start_at, end_at, windows = window_to_come(m.windows, now)
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
end
-- end lib/fixed-window
`,
  concurrency: `-- lib/concurrency
local concurrency
do
concurrency = {}
function concurrency.new(limit)
  return {
    shape = 7,
    amount = limit.amount,
    window_ms = 0,
    capacity = limit.amount,
    source = 'configured',
    rate = 0,
    held = 0,
  }
end
function concurrency.ready_at(m, amount, now)
  local fits = m.held == 0 or m.held + amount <= m.amount
  return fits and now or math.huge
end
function concurrency.take(m, amount)
  m.held = m.held + amount
end
function concurrency.correct(m, delta)
  m.held = m.held + delta
end
function concurrency.remaining(m)
  return m.amount - m.held
end
function concurrency.idle_in_ms()
  return 0
end
function concurrency.adapt(m, limit)
  m.amount, m.capacity = limit.amount, limit.amount
end
function concurrency.write(m)
  return struct.pack('<BBdd', 7, m.code, m.amount, m.held), ''
end
function concurrency.read(blob, pos, shape, code, dimension)
  local amount, held
  amount, held, pos = struct.unpack('<dd', blob, pos)
  return {
    algorithm = 'concurrency',
    dimension = dimension,
    code = code,
    shape = shape,
    amount = amount,
    window_ms = 0,
    capacity = amount,
    source = 'configured',
    rate = 0,
    held = held,
  },
    pos
end
end
-- end lib/concurrency
`,
  underway: `-- lib/underway
local underway
do
underway = {}
local REMEMBERED = 2048
local LOG_KEPT_MS = 3660000
local KEEP_EVERY_MS = 60000
local HOUR_MS = 3600000
local TOTALS = '<ddddd'
local RECORD = '<dddddddddddddddddddd'
local function nothing()
  return { requests = 0, input_tokens = 0, output_tokens = 0, tokens = 0, cost = 0 }
end
local function add_cost(sum, cost, sign)
  sum.requests = sum.requests + cost.requests * sign
  sum.input_tokens = sum.input_tokens + cost.input_tokens * sign
  sum.output_tokens = sum.output_tokens + cost.output_tokens * sign
  sum.tokens = sum.tokens + cost.tokens * sign
  sum.cost = sum.cost + cost.cost * sign
end
local function read_totals(member)
  local totals = {}
  totals.requests, totals.input_tokens, totals.output_tokens, totals.tokens, totals.cost =
    struct.unpack(TOTALS, member, 9)
  return totals
end
function underway.begin(gate)
  local unconfirmed = nothing()
  unconfirmed.tickets = 0
  gate.underway = {
    unconfirmed = unconfirmed,
    output_to_come = 0,
    departures = { count = 0, sequence = 0, kept_at = -math.huge, total = nothing(), forgotten = nothing() },
  }
end
local function keep_log(departures, now)
  if now - departures.kept_at > HOUR_MS then
    redis.call('UNLINK', key.departures)
    departures.count = 0
    departures.forgotten = nothing()
    add_cost(departures.forgotten, departures.total, 1)
  end
  departures.kept_at = now
end
local function forget_half(departures)
  local last = redis.call('ZRANGE', key.departures, REMEMBERED - 1, REMEMBERED - 1)[1]
  departures.forgotten = last and read_totals(last) or departures.total
  departures.count = departures.count - REMEMBERED
  redis.call('ZREMRANGEBYRANK', key.departures, 0, REMEMBERED - 1)
end
local function record(gate, cost, sign)
  local departures, now = gate.underway.departures, gate.now
  local is_to_be_kept = now - departures.kept_at > KEEP_EVERY_MS
  if is_to_be_kept then keep_log(departures, now) end
  local total = departures.total
  add_cost(total, cost, sign)
  departures.sequence = departures.sequence + 1
  departures.count = departures.count + 1
  local member = struct.pack('>I8', departures.sequence)
    .. struct.pack(TOTALS, total.requests, total.input_tokens, total.output_tokens, total.tokens, total.cost)
  redis.call('ZADD', key.departures, now, member)
  if is_to_be_kept then redis.call('PEXPIRE', key.departures, LOG_KEPT_MS) end
  if departures.count >= 2 * REMEMBERED then forget_half(departures) end
end
local function count(gate, ticket, sign)
  local u, estimate, produced = gate.underway, ticket.estimate, ticket.produced
  local to_come = estimate.output_tokens - math.max(produced, 0)
  u.output_to_come = u.output_to_come + sign * math.max(0, to_come)
  if produced >= 0 then return end
  u.unconfirmed.tickets = u.unconfirmed.tickets + sign
  add_cost(u.unconfirmed, estimate, sign)
end
function underway.depart(gate, ticket)
  record(gate, ticket.estimate, 1)
  count(gate, ticket, 1)
end
function underway.undo_departure(gate, ticket)
  record(gate, ticket.estimate, -1)
end
function underway.add(gate, ticket)
  count(gate, ticket, 1)
end
function underway.remove(gate, ticket)
  count(gate, ticket, -1)
end
function underway.since(gate, dimension, at)
  local u = gate.underway
  if dimension == 'output_tokens' then return u.output_to_come end
  local departures = u.departures
  if gate.now - departures.kept_at > HOUR_MS then return 0 end
  local last = redis.call('ZREVRANGEBYSCORE', key.departures, at, '-inf', 'LIMIT', 0, 1)[1]
  local before = last and read_totals(last) or departures.forgotten
  return departures.total[dimension] - before[dimension]
end
function underway.unconfirmed(gate, dimension)
  if dimension == 'output_tokens' then return gate.underway.output_to_come end
  return gate.underway.unconfirmed[dimension]
end
function underway.write(gate)
  local u = gate.underway
  local open, log = u.unconfirmed, u.departures
  local total, forgotten = log.total, log.forgotten
  return struct.pack(
    RECORD,
    open.tickets,
    open.requests,
    open.input_tokens,
    open.output_tokens,
    open.tokens,
    open.cost,
    u.output_to_come,
    log.count,
    log.sequence,
    log.kept_at,
    total.requests,
    total.input_tokens,
    total.output_tokens,
    total.tokens,
    total.cost,
    forgotten.requests,
    forgotten.input_tokens,
    forgotten.output_tokens,
    forgotten.tokens,
    forgotten.cost
  )
end
function underway.read(gate, blob, pos)
  local open, total, forgotten = {}, {}, {}
  local log = { total = total, forgotten = forgotten }
  local u = { unconfirmed = open, departures = log }
  open.tickets, open.requests, open.input_tokens, open.output_tokens, open.tokens, open.cost, u.output_to_come, log.count, log.sequence, log.kept_at, total.requests, total.input_tokens, total.output_tokens, total.tokens, total.cost, forgotten.requests, forgotten.input_tokens, forgotten.output_tokens, forgotten.tokens, forgotten.cost, pos =
    struct.unpack(RECORD, blob, pos)
  gate.underway = u
  return pos
end
end
-- end lib/underway
`,
  learntLimit: `-- lib/learnt-limit
local learnt_limit
do
learnt_limit = {}
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
function learnt_limit.set_floor(m, floor)
  m.learnt.floor = floor
  keep_back(m)
end
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
function learnt_limit.forget_others(m, now)
  m.learnt.others_per_ms = 0
  token_bucket.set_rate(m, m.amount / m.learnt.window_ms, now)
end
function learnt_limit.surprised(m)
  local learnt, capacity = m.learnt, m.capacity
  if m.dimension == 'requests' then
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
end
-- end lib/learnt-limit
`,
  meters: `-- lib/meters
local meters
do
meters = {}
local ALGORITHMS = {
  token_bucket = token_bucket,
  sliding_window = sliding_window,
  fixed_window = fixed_window,
  concurrency = concurrency,
}
local SHAPES =
  { token_bucket, token_bucket, learnt_limit, sliding_window, fixed_window, fixed_window, concurrency }
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
function meters.learn(observed, now)
  return named(learnt_limit.new(observed, now), 'token_bucket', observed.dimension)
end
function meters.adapt(m, limit, now)
  ALGORITHMS[m.algorithm].adapt(m, limit, now)
end
function meters.ready_at(m, amount, now)
  return ALGORITHMS[m.algorithm].ready_at(m, amount, now)
end
function meters.take(m, amount, now)
  ALGORITHMS[m.algorithm].take(m, amount, now)
end
function meters.correct(m, delta, taken_at, now)
  ALGORITHMS[m.algorithm].correct(m, delta, taken_at, now)
end
function meters.remaining(m, now)
  return ALGORITHMS[m.algorithm].remaining(m, now)
end
function meters.idle_in_ms(m, now)
  return ALGORITHMS[m.algorithm].idle_in_ms(m, now)
end
function meters.write(m)
  return SHAPES[m.shape].write(m)
end
function meters.read(blob, pos)
  local shape, code = string.byte(blob, pos, pos + 1)
  return SHAPES[shape].read(blob, pos + 2, shape, code, DIMENSIONS[code])
end
end
-- end lib/meters
`,
  ramp: `-- lib/ramp
local ramp
do
ramp = {
  COLD_START = { first = 4, doubles_every_ms = 1000, most_by_silence = 64 },
  AFTER_REFUSAL = { first = 1, doubles_every_ms = 250, most_by_silence = 64 },
}
local PROBE_EVERY_MS = 1000
local WIDE_OPEN = 256
function ramp.new()
  return { is_open = true }
end
function ramp.start(r, settings)
  r.is_open = false
  r.first = settings.first
  r.doubles_every_ms = settings.doubles_every_ms
  r.most_by_silence = settings.most_by_silence
  r.started_at = 0
  r.admitted = 0
  r.succeeded = 0
end
function ramp.open(r)
  r.is_open = true
end
local function log2(x)
  local mantissa, exponent = math.frexp(x)
  return exponent - 1 + math.log(2 * mantissa) / math.log(2)
end
function ramp.ready_at(r, now)
  if r.is_open or r.admitted == 0 then return now end
  local by_silence = r.admitted + 1 - 2 * r.succeeded
  if by_silence <= r.first then return now end
  local doublings = log2(math.min(by_silence, r.most_by_silence) / r.first)
  local probes = math.max(0, by_silence - r.most_by_silence)
  local ready_at = r.started_at + doublings * r.doubles_every_ms + probes * PROBE_EVERY_MS
  return math.max(now, ready_at)
end
function ramp.admitted(r, now)
  if r.is_open then return end
  if r.admitted == 0 then r.started_at = now end
  r.admitted = r.admitted + 1
  if r.admitted >= WIDE_OPEN then ramp.open(r) end
end
function ramp.succeeded(r)
  if not r.is_open and r.succeeded < r.admitted then r.succeeded = r.succeeded + 1 end
end
end
-- end lib/ramp
`,
  overload: `-- lib/overload
local overload
do
overload = {}
local NEWS = 0.05
local STRAINED = 0.125
local MOST_TAKEN = 0.5
local QUICKLY_UP_TO = 0.9
local FORGET_AFTER_MS = 300000
local SLOW_BY = 2
local SHORT_TERM = 0.2
local LONG_TERM = 0.02
function overload.new()
  return {
    limit = math.huge,
    overloaded_at = -math.huge,
    share = 0,
    borne = 0,
    usual_ms = -1,
    recent_ms = 0,
  }
end
function overload.remembers(o, now)
  return now - o.overloaded_at <= FORGET_AFTER_MS
end
function overload.idle_in_ms(gate)
  return math.max(0, gate.overload.overloaded_at + FORGET_AFTER_MS - gate.now)
end
function overload.admits(o, in_flight)
  return in_flight == 0 or in_flight + 1 <= o.limit
end
function overload.overloaded(o, in_flight, now)
  local was_strained = o.share >= STRAINED
  o.overloaded_at = now
  o.share = o.share + (1 - o.share) * NEWS
  if o.share >= STRAINED and not was_strained then
    o.borne = math.min(o.limit, in_flight)
    o.limit = o.borne
  end
  local taken = MOST_TAKEN * math.min(1, o.share / STRAINED)
  o.limit = math.max(1, o.limit - taken)
end
local function learn(o, first_answer_ms)
  if o.usual_ms < 0 then
    o.usual_ms, o.recent_ms = first_answer_ms, first_answer_ms
  end
  o.recent_ms = o.recent_ms + (first_answer_ms - o.recent_ms) * SHORT_TERM
  o.usual_ms = o.usual_ms + (first_answer_ms - o.usual_ms) * LONG_TERM
end
local function grow(o)
  local is_untried = o.share >= STRAINED or o.limit >= o.borne * QUICKLY_UP_TO
  o.limit = o.limit + (is_untried and 1 / o.limit or 1)
end
function overload.succeeded(o, first_answer_ms, now)
  if first_answer_ms >= 0 then learn(o, first_answer_ms) end
  o.share = o.share - o.share * NEWS
  if o.limit == math.huge then return end
  if not overload.remembers(o, now) then
    o.limit, o.share = math.huge, 0
  elseif o.usual_ms < 0 or o.recent_ms <= o.usual_ms * SLOW_BY then
    grow(o)
  end
end
end
-- end lib/overload
`,
  limitSettings: `-- lib/limit-settings
local limit_settings
do
limit_settings = {}
function limit_settings.replace_meters(gate, all, slower)
  gate.meters = all
  gate.slowed_by = 0
  for i, m in ipairs(all) do
    if m == slower then gate.slowed_by = i end
  end
end
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
local function successor(before, limit, now)
  for i, m in ipairs(before) do
    if is_same(m, limit) then
      meters.adapt(m, limit, now)
      return table.remove(before, i)
    end
  end
  local m = meters.new(limit, now)
  if m.dimension ~= 'concurrency' then meters.take(m, 0, now) end
  return m
end
local function set_learning(gate, learns)
  if learns and not gate.learns then
    ramp.start(gate.ramp, ramp.COLD_START)
    underway.begin(gate)
  end
  if not learns then gate.underway = nil end
  gate.learns = learns
end
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
function limit_settings.needs_calendar(gate)
  local now, all = gate.now, gate.meters
  for i = 1, #all do
    local m = all[i]
    if m.windows and fixed_window.needs_calendar(m, now) then return true end
  end
  return false
end
end
-- end lib/limit-settings
`,
  limitCodec: `-- lib/limit-codec
local limit_codec
do
limit_codec = {}
local function write_ramp(r)
  return struct.pack(
    '<dddddd',
    r.first,
    r.doubles_every_ms,
    r.most_by_silence,
    r.started_at,
    r.admitted,
    r.succeeded
  )
end
function limit_codec.write(gate)
  local r, o, all = gate.ramp, gate.overload, gate.meters
  local has_floors = gate.floor_soft ~= 0 or gate.floor_hard ~= 0
  local has_news = gate.learnt_at ~= -math.huge or gate.slow_until ~= -math.huge
  local was_overloaded, is_timed = o.overloaded_at ~= -math.huge, o.usual_ms >= 0
  local parts = {
    string.char(
      #all,
      gate.learns and 1 or 0,
      has_floors and 1 or 0,
      has_news and 1 or 0,
      r.is_open and 0 or 1,
      was_overloaded and 1 or 0,
      is_timed and 1 or 0
    ),
    has_floors and struct.pack('<dd', gate.floor_soft, gate.floor_hard) or '',
    has_news and struct.pack('<ddB', gate.learnt_at, gate.slow_until, gate.slowed_by) or '',
    r.is_open and '' or write_ramp(r),
    was_overloaded and struct.pack('<dddd', o.limit, o.overloaded_at, o.share, o.borne) or '',
    is_timed and struct.pack('<dd', o.usual_ms, o.recent_ms) or '',
    gate.learns and underway.write(gate) or '',
  }
  for i = 1, #all do
    parts[2 * i + 6], parts[2 * i + 7] = meters.write(all[i])
  end
  return table.concat(parts)
end
local function read_news(gate, blob, pos)
  gate.learnt_at, gate.slow_until, gate.slowed_by, pos = struct.unpack('<ddB', blob, pos)
  return pos
end
local function read_ramp(r, blob, pos)
  r.is_open = false
  r.first, r.doubles_every_ms, r.most_by_silence, r.started_at, r.admitted, r.succeeded, pos =
    struct.unpack('<dddddd', blob, pos)
  return pos
end
function limit_codec.read(gate, blob, pos)
  local meter_count, learns, has_floors, has_news, is_ramping, was_overloaded, is_timed =
    string.byte(blob, pos, pos + 6)
  pos = pos + 7
  gate.learns, gate.floor_soft, gate.floor_hard = learns == 1, 0, 0
  gate.learnt_at, gate.slow_until, gate.slowed_by = -math.huge, -math.huge, 0
  local o = overload.new()
  gate.ramp, gate.overload = ramp.new(), o
  if has_floors == 1 then gate.floor_soft, gate.floor_hard, pos = struct.unpack('<dd', blob, pos) end
  if has_news == 1 then pos = read_news(gate, blob, pos) end
  if is_ramping == 1 then pos = read_ramp(gate.ramp, blob, pos) end
  if was_overloaded == 1 then
    o.limit, o.overloaded_at, o.share, o.borne, pos = struct.unpack('<dddd', blob, pos)
  end
  if is_timed == 1 then o.usual_ms, o.recent_ms, pos = struct.unpack('<dd', blob, pos) end
  if gate.learns then pos = underway.read(gate, blob, pos) end
  local all = {}
  for i = 1, meter_count do
    all[i], pos = meters.read(blob, pos)
  end
  gate.meters = all
  return pos
end
end
-- end lib/limit-codec
`,
  limits: `-- lib/limits
local limits
do
limits = {
  configure = limit_settings.configure,
  extend = limit_settings.extend,
  needs_calendar = limit_settings.needs_calendar,
  read = limit_codec.read,
  write = limit_codec.write,
}
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
function limits.take_slot(gate)
  for _, m in ipairs(gate.meters) do
    if m.dimension == 'concurrency' then meters.take(m, 1, gate.now) end
  end
end
function limits.charge(gate, cost)
  for _, m in ipairs(gate.meters) do
    if m.dimension ~= 'concurrency' then meters.take(m, cost[m.dimension], gate.now) end
  end
end
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
local function meter_ready_in_long_run(m, amount, now)
  local missing = amount - meters.remaining(m, now)
  if missing <= 0 then return now end
  return math.max(meters.ready_at(m, amount, now), now + missing / m.rate)
end
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
local function usual_share(cost)
  return math.max(
    cost.requests / 1000,
    cost.input_tokens / 1000000,
    cost.output_tokens / 200000,
    cost.tokens / 1200000
  )
end
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
function limits.idle_in_ms(gate)
  local longest = 0
  for _, m in ipairs(gate.meters) do
    if not m.learnt then longest = math.max(longest, meters.idle_in_ms(m, gate.now)) end
  end
  return longest
end
end
-- end lib/limits
`,
  records: `-- lib/records
local records = {}
local TICKET = '<BBBdddddddddddddddddHc0Hc0Hc0'
local FLOW = '<BdddddddddHc0'
local WAITING, PARKED, RETRYING, HELD = 1, 2, 3, 4
local READ_AT_ONCE = 1000
function records.begin()
  records.cached = {}
  records.changed = {}
end
local function unpack_ticket(id, packed)
  local state, lane, in_flow, weight, requests, input_tokens, output_tokens, tokens, cost, share, enqueued_at, order, granted_at, produced, retry_at, lane_since, start_tag, joined_at_turn, early_tag, holder_ttl, flow, owner, holder =
    struct.unpack(TICKET, packed)
  return {
    id = id,
    state = state,
    lane = lane,
    in_flow = in_flow == 1,
    weight = weight,
    estimate = {
      requests = requests,
      input_tokens = input_tokens,
      output_tokens = output_tokens,
      tokens = tokens,
      cost = cost,
    },
    share = share,
    enqueued_at = enqueued_at,
    order = order,
    granted_at = granted_at,
    produced = produced,
    retry_at = retry_at,
    lane_since = lane_since,
    start_tag = start_tag,
    joined_at_turn = joined_at_turn,
    early_tag = early_tag,
    holder_ttl = holder_ttl,
    flow = flow,
    owner = owner,
    holder = holder,
  }
end
local function pack_ticket(t)
  local estimate = t.estimate
  return struct.pack(
    TICKET,
    t.state,
    t.lane,
    t.in_flow and 1 or 0,
    t.weight,
    estimate.requests,
    estimate.input_tokens,
    estimate.output_tokens,
    estimate.tokens,
    estimate.cost,
    t.share,
    t.enqueued_at,
    t.order,
    t.granted_at,
    t.produced,
    t.retry_at,
    t.lane_since,
    t.start_tag,
    t.joined_at_turn,
    t.early_tag,
    t.holder_ttl,
    #t.flow,
    t.flow,
    #t.owner,
    t.owner,
    #t.holder,
    t.holder
  )
end
local function unpack_flow(lane, name, packed)
  local is_ahead, tag, turn_tag, held, waiting, waiting_share, turn_at, since, order, ahead_at, first =
    struct.unpack(FLOW, packed)
  return {
    lane = lane,
    name = name,
    is_ahead = is_ahead == 1,
    tag = tag,
    turn_tag = turn_tag,
    held = held,
    waiting = waiting,
    waiting_share = waiting_share,
    turn_at = turn_at,
    since = since,
    order = order,
    ahead_at = ahead_at,
    first = first,
  }
end
local function pack_flow(f)
  return struct.pack(
    FLOW,
    f.is_ahead and 1 or 0,
    f.tag,
    f.turn_tag,
    f.held,
    f.waiting,
    f.waiting_share,
    f.turn_at,
    f.since,
    f.order,
    f.ahead_at,
    #f.first,
    f.first
  )
end
local function unpack_holder(id, packed)
  local expires_at, waiting, held, newest = struct.unpack('<dddHc0', packed)
  return { id = id, expires_at = expires_at, waiting = waiting, held = held, newest = newest }
end
local function pack_holder(holder)
  return struct.pack('<dddHc0', holder.expires_at, holder.waiting, holder.held, #holder.newest, holder.newest)
end
function records.read_ahead(id, lane, flow, holder)
  local cached = records.cached
  local of_ticket, of_flow, of_holder = 't' .. id, lane .. flow, 'h' .. holder
  if next(cached) then return end
  local found = redis.call('HMGET', key.records, of_ticket, of_flow, of_holder)
  cached[of_ticket] = found[1] and unpack_ticket(id, found[1])
  cached[of_flow] = found[2] and unpack_flow(lane, flow, found[2])
  cached[of_holder] = found[3] and unpack_holder(holder, found[3])
end
function records.ticket(id)
  local field = 't' .. id
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_ticket(id, packed)
  records.cached[field] = cached
  return cached
end
function records.ticket_changed(ticket)
  local field = 't' .. ticket.id
  records.cached[field] = ticket
  records.changed[field] = pack_ticket
end
function records.forget_ticket(ticket)
  local field = 't' .. ticket.id
  records.cached[field] = false
  records.changed[field] = false
end
function records.read_behind(ticket)
  local cached = records.cached
  local of_flow, of_holder = ticket.lane .. ticket.flow, 'h' .. ticket.holder
  if cached[of_flow] ~= nil or cached[of_holder] ~= nil then return end
  local found = redis.call('HMGET', key.records, of_flow, of_holder)
  cached[of_flow] = found[1] and unpack_flow(ticket.lane, ticket.flow, found[1])
  cached[of_holder] = found[2] and unpack_holder(ticket.holder, found[2])
end
function records.flow(lane, name)
  local field = lane .. name
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_flow(lane, name, packed)
  records.cached[field] = cached
  return cached
end
function records.flow_changed(flow)
  local field = flow.lane .. flow.name
  records.cached[field] = flow
  records.changed[field] = pack_flow
end
function records.forget_flow(flow)
  local field = flow.lane .. flow.name
  records.cached[field] = false
  records.changed[field] = false
end
function records.holder(id)
  local field = 'h' .. id
  local cached = records.cached[field]
  if cached ~= nil then return cached end
  local packed = redis.call('HGET', key.records, field)
  cached = packed and unpack_holder(id, packed)
  records.cached[field] = cached
  return cached
end
function records.holder_changed(holder)
  local field = 'h' .. holder.id
  records.cached[field] = holder
  records.changed[field] = pack_holder
end
function records.forget_holder(holder)
  local field = 'h' .. holder.id
  records.cached[field] = false
  records.changed[field] = false
end
function records.some_tickets(most)
  local found, cursor = {}, '0'
  local at_once = math.max(1, math.min(most, READ_AT_ONCE))
  repeat
    local page = redis.call('HSCAN', key.records, cursor, 'MATCH', 't*', 'COUNT', at_once)
    cursor = page[1]
    for position = 1, #page[2], 2 do
      if #found == most then return found end
      local field = page[2][position]
      local ticket = records.cached[field]
      if ticket == nil then ticket = unpack_ticket(string.sub(field, 2), page[2][position + 1]) end
      if ticket then found[#found + 1] = ticket end
    end
  until cursor == '0'
  return found
end
function records.tickets_of(holder)
  if holder.waiting + holder.held == 1 then
    local sole = records.ticket(holder.newest)
    if sole then return { sole } end
  end
  local found = {}
  local all = redis.call('HGETALL', key.records)
  for position = 1, #all, 2 do
    if string.sub(all[position], 1, 1) == 't' then
      local ticket = records.ticket(string.sub(all[position], 2))
      if ticket and ticket.holder == holder.id then found[#found + 1] = ticket end
    end
  end
  table.sort(found, function(a, b)
    return a.order < b.order
  end)
  return found
end
local WRITTEN_AT_ONCE = 2000
local function call_in_parts(command, name, values)
  for from = 1, #values, WRITTEN_AT_ONCE do
    redis.call(command, name, unpack(values, from, math.min(from + WRITTEN_AT_ONCE - 1, #values)))
  end
end
function records.write(has_tickets)
  if not has_tickets then
    redis.call('UNLINK', key.records, key.index)
    return
  end
  local set, deleted = {}, {}
  for field, pack in pairs(records.changed) do
    if pack then
      set[#set + 1] = field
      set[#set + 1] = pack(records.cached[field])
    else
      deleted[#deleted + 1] = field
    end
  end
  if #set > 0 then call_in_parts('HSET', key.records, set) end
  if #deleted > 0 then call_in_parts('HDEL', key.records, deleted) end
end
-- end lib/records
`,
  state: `-- lib/state
local NEVER = math.huge
local LAYOUT = 1
local HEAD = '<BBBBddddddddddddddddddddHc0Hc0Hc0'
local LANE = '<dddddddddd'
local KEPT_IDLE_MS = 5000
local LEARNT_IS_KEPT_MS = 3600000
local TICKETS_ARE_KEPT_MS = 7200000
local REFRESH_EXPIRY_EVERY_MS = 600000
local RETRY_BURST = 10
local RETRIES_PER_MINUTE = 20
local gate
local state = {}
local function new_retry_budget(now)
  return meters.new({
    algorithm = 'token_bucket',
    dimension = 'requests',
    amount = RETRIES_PER_MINUTE,
    window_ms = 60000,
    burst = RETRY_BURST,
    source = 'configured',
  }, now)
end
local UNUSED_LANE = {
  virtual_time = 0,
  last_turn = 0,
  backlogged = 0,
  ahead = 0,
  tickets = 0,
  requests = 0,
  input_tokens = 0,
  output_tokens = 0,
  tokens = 0,
  cost = 0,
}
function state.no_backlog()
  return { tickets = 0, requests = 0, input_tokens = 0, output_tokens = 0, tokens = 0, cost = 0 }
end
function state.lane(index)
  local lane = gate.lanes[index]
  if lane ~= UNUSED_LANE then return lane end
  lane = {}
  for name, value in pairs(UNUSED_LANE) do
    lane[name] = value
  end
  gate.lanes[index] = lane
  return lane
end
function state.begin(now)
  gate.revision = 0
  gate.aging_ms = NEVER
  gate.max_queued = NEVER
  gate.skew = 0
  gate.now = now
  gate.life = string.format('%.0f', now * 1000) .. '-' .. arg.instance
  gate.merged_into = ''
  gate.arrivals = 0
  gate.turns = 0
  gate.held = 0
  gate.tickets = 0
  gate.retrying = 0
  gate.paused_until = -NEVER
  gate.refused_in_a_row = 0
  gate.known_since = NEVER
  gate.refused_at = -NEVER
  gate.next_at = NEVER
  gate.next_expiry_at = NEVER
  gate.alarm_at = -NEVER
  gate.alarm_owner = ''
  gate.expiry_set_at = -NEVER
  gate.bound_kind = 0
  gate.bound_index = 0
  gate.retry_level = RETRY_BURST
  gate.retry_at = now
  gate.lanes = { [0] = UNUSED_LANE, UNUSED_LANE, UNUSED_LANE, UNUSED_LANE }
end
local function read_lane(blob, pos)
  local virtual_time, last_turn, backlogged, ahead, tickets, requests, input_tokens, output_tokens, tokens, cost, after =
    struct.unpack(LANE, blob, pos)
  return {
    virtual_time = virtual_time,
    last_turn = last_turn,
    backlogged = backlogged,
    ahead = ahead,
    tickets = tickets,
    requests = requests,
    input_tokens = input_tokens,
    output_tokens = output_tokens,
    tokens = tokens,
    cost = cost,
  },
    after
end
local function read_lanes(blob, mask, pos)
  local lanes = { [0] = UNUSED_LANE, UNUSED_LANE, UNUSED_LANE, UNUSED_LANE }
  for index = 0, 3 do
    if mask % 2 == 1 then
      lanes[index], pos = read_lane(blob, pos)
    end
    mask = math.floor(mask / 2)
  end
  return lanes, pos
end
local function read_gate(blob)
  local _, bound_kind, bound_index, mask, revision, aging_ms, max_queued, now, skew, arrivals, turns, held, tickets, retrying, paused_until, refused_in_a_row, known_since, refused_at, next_at, next_expiry_at, alarm_at, expiry_set_at, retry_level, retry_at, life, alarm_owner, merged_into, pos =
    struct.unpack(HEAD, blob)
  local lanes
  lanes, pos = read_lanes(blob, mask, pos)
  gate = {
    resource = arg.resource,
    grants = {},
    bound_kind = bound_kind,
    bound_index = bound_index,
    revision = revision,
    aging_ms = aging_ms,
    max_queued = max_queued,
    now = now,
    skew = skew,
    arrivals = arrivals,
    turns = turns,
    held = held,
    tickets = tickets,
    retrying = retrying,
    paused_until = paused_until,
    refused_in_a_row = refused_in_a_row,
    known_since = known_since,
    refused_at = refused_at,
    next_at = next_at,
    next_expiry_at = next_expiry_at,
    alarm_at = alarm_at,
    expiry_set_at = expiry_set_at,
    retry_level = retry_level,
    retry_at = retry_at,
    life = life,
    alarm_owner = alarm_owner,
    blob = blob,
    retry_budget = false,
    merged_into = merged_into,
    lanes = lanes,
    had_no_tickets = tickets == 0,
    is_changed = false,
    learns = false,
    floor_soft = 0,
    floor_hard = 0,
    meters = false,
    learnt_at = 0,
    slow_until = 0,
    slowed_by = 0,
    ramp = false,
    overload = false,
    underway = false,
  }
  limits.read(gate, blob, pos)
end
function state.retry_budget()
  if not gate.retry_budget then
    local bucket = new_retry_budget(gate.now)
    bucket.level, bucket.at = gate.retry_level, gate.retry_at
    gate.retry_budget = bucket
  end
  return gate.retry_budget
end
local function keep_retry_budget()
  local bucket = gate.retry_budget
  if not bucket then return end
  gate.retry_level, gate.retry_at = bucket.level, bucket.at
end
local function write_lanes()
  local written, mask = '', 0
  for index = 3, 0, -1 do
    local lane = gate.lanes[index]
    mask = mask * 2
    if lane ~= UNUSED_LANE then
      mask = mask + 1
      written = struct.pack(
        LANE,
        lane.virtual_time,
        lane.last_turn,
        lane.backlogged,
        lane.ahead,
        lane.tickets,
        lane.requests,
        lane.input_tokens,
        lane.output_tokens,
        lane.tokens,
        lane.cost
      ) .. written
    end
  end
  return written, mask
end
local function kept_ms()
  if gate.tickets > 0 then return TICKETS_ARE_KEPT_MS end
  local kept = math.max(
    limits.idle_in_ms(gate),
    gate.paused_until - gate.now,
    overload.idle_in_ms(gate),
    (RETRY_BURST - gate.retry_level) * 60000 / RETRIES_PER_MINUTE
  )
  if gate.learns then kept = math.max(kept, gate.learnt_at + LEARNT_IS_KEPT_MS - gate.now) end
  return math.max(kept, 0) + KEPT_IDLE_MS
end
local remembered, how_many = {}, 0
local MOST_REMEMBERED = 256
local function remember(blob)
  how_many = how_many + 1
  if how_many > MOST_REMEMBERED then
    remembered, how_many = {}, 1
  end
  gate.blob = blob
  remembered[key.state] = gate
end
function state.write()
  keep_retry_budget()
  local is_new = gate.tickets > 0
    and (gate.had_no_tickets or gate.now - gate.expiry_set_at > REFRESH_EXPIRY_EVERY_MS)
  if is_new then
    gate.expiry_set_at = gate.now
    redis.call('PEXPIRE', key.records, TICKETS_ARE_KEPT_MS)
    redis.call('PEXPIRE', key.index, TICKETS_ARE_KEPT_MS)
  end
  local expiry = (is_new or gate.tickets == 0) and math.ceil(kept_ms())
  local lanes, mask = write_lanes()
  local blob = struct.pack(
    HEAD,
    LAYOUT,
    gate.bound_kind,
    gate.bound_index,
    mask,
    gate.revision,
    gate.aging_ms,
    gate.max_queued,
    gate.now,
    gate.skew,
    gate.arrivals,
    gate.turns,
    gate.held,
    gate.tickets,
    gate.retrying,
    gate.paused_until,
    gate.refused_in_a_row,
    gate.known_since,
    gate.refused_at,
    gate.next_at,
    gate.next_expiry_at,
    gate.alarm_at,
    gate.expiry_set_at,
    gate.retry_level,
    gate.retry_at,
    #gate.life,
    gate.life,
    #gate.alarm_owner,
    gate.alarm_owner,
    #gate.merged_into,
    gate.merged_into
  ) .. lanes .. limits.write(gate)
  if expiry then
    redis.call('SET', key.state, blob, 'PX', expiry)
  else
    redis.call('SET', key.state, blob, 'KEEPTTL')
  end
  remember(blob)
end
local function tell_time(time)
  local now = time + gate.skew
  if now < gate.now then gate.skew = gate.skew + gate.now - now end
  gate.now = math.max(now, gate.now)
end
local function configure()
  local settings = cjson.decode(arg.settings)
  if gate.revision > arg.revision then
    limits.extend(gate, settings)
    return
  end
  gate.aging_ms = settings.aging_ms or NEVER
  gate.max_queued = settings.max_queued or NEVER
  gate.revision = arg.revision
  limits.configure(gate, settings, gate.now)
end
local function read()
  local blob = redis.call('GET', key.state)
  local last = remembered[key.state]
  if last then
    remembered[key.state] = nil
    how_many = how_many - 1
  end
  if not blob then return nil end
  if string.byte(blob) ~= LAYOUT then
    error('the gate of ' .. arg.resource .. ' was written by another version of Headgate')
  end
  if last and last.blob == blob then
    gate = last
    gate.grants = {}
    gate.is_changed = false
    gate.had_no_tickets = gate.tickets == 0
  else
    read_gate(blob)
  end
  return gate.merged_into == ''
end
function state.open(begins)
  records.begin()
  local is_there = read()
  if is_there == false then return { 'merged', gate.merged_into } end
  if is_there then
    tell_time(server_now())
    if gate.revision >= arg.revision and not limits.needs_calendar(gate) then return nil end
  elseif begins then
    gate = { resource = arg.resource, grants = {}, had_no_tickets = true }
    state.begin(server_now())
    redis.call('UNLINK', key.records, key.index, key.departures)
  else
    return { 'none' }
  end
  if arg.settings == '' then return { 'settings', string.format('%.17g', gate.now) } end
  configure()
  return nil
end
-- end lib/state
`,
  index: `-- lib/index
local index
do
index = {}
local function sortable(x)
  return struct.pack('>d', x > 0 and x or 0)
end
local function named(name)
  return struct.pack('>H', #name) .. name
end
function index.add(...)
  redis.call('ZADD', key.index, ...)
end
function index.remove(...)
  redis.call('ZREM', key.index, ...)
end
function index.first(prefix)
  return redis.call('ZRANGEBYLEX', key.index, '[' .. prefix, '(' .. prefix .. '\\255', 'LIMIT', 0, 1)[1]
end
function index.rank(prefix, member)
  return redis.call('ZLEXCOUNT', key.index, '[' .. prefix, '[' .. member)
end
function index.turn(flow)
  return 'B' .. flow.lane .. sortable(flow.turn_at) .. sortable(flow.since) .. sortable(flow.order) .. flow.name
end
function index.lead(flow)
  return 'A' .. flow.lane .. sortable(flow.ahead_at) .. flow.name
end
function index.of_flow(lane, name)
  return 'F' .. lane .. named(name)
end
function index.in_flow(t)
  return 'F' .. t.lane .. named(t.flow) .. sortable(t.lane_since) .. sortable(t.order) .. sortable(t.early_tag) .. t.id
end
function index.read_in_flow(member, prefix)
  local since, order, early, pos = struct.unpack('>ddd', member, #prefix + 1)
  return since, order, early, string.sub(member, pos)
end
function index.in_lane(t)
  return 'G' .. t.lane .. sortable(t.lane_since) .. sortable(t.order) .. sortable(t.joined_at_turn) .. t.id
end
function index.read_in_lane(member)
  local since, _, joined, pos = struct.unpack('>ddd', member, 3)
  return since, joined, string.sub(member, pos)
end
function index.by_arrival(t)
  return 'E' .. sortable(t.enqueued_at) .. sortable(t.order) .. t.id
end
function index.by_retry(t)
  return 'R' .. sortable(t.retry_at) .. sortable(t.order) .. t.id
end
function index.read_timed(member)
  local at, _, pos = struct.unpack('>dd', member, 2)
  return string.sub(member, pos), at
end
function index.expiry(holder)
  return 'X' .. sortable(holder.expires_at) .. holder.id
end
function index.read_expiry(member)
  return string.sub(member, 10)
end
end
-- end lib/index
`,
  fairQueue: `-- lib/fair-queue
local REMEMBERED_LEADS = 1000
local queue = {}
local TICKS = 4294967296
local function time_of(ticket, share)
  local ticks = share / ticket.weight * TICKS
  return (ticks < 0 and math.ceil(ticks) or math.floor(ticks)) / TICKS
end
local function turn_of(ticket)
  return time_of(ticket, ticket.share)
end
local function waiting_in_line()
  local lanes = gate.lanes
  return lanes[0].tickets + lanes[1].tickets + lanes[2].tickets + lanes[3].tickets
end
queue.waiting = waiting_in_line
local function add_backlog(sum, other, part)
  sum.tickets = sum.tickets + other.tickets * part
  sum.requests = sum.requests + other.requests * part
  sum.input_tokens = sum.input_tokens + other.input_tokens * part
  sum.output_tokens = sum.output_tokens + other.output_tokens * part
  sum.tokens = sum.tokens + other.tokens * part
  sum.cost = sum.cost + other.cost * part
end
local function add_ticket(sum, ticket, sign)
  local estimate = ticket.estimate
  sum.tickets = sum.tickets + sign
  sum.requests = sum.requests + estimate.requests * sign
  sum.input_tokens = sum.input_tokens + estimate.input_tokens * sign
  sum.output_tokens = sum.output_tokens + estimate.output_tokens * sign
  sum.tokens = sum.tokens + estimate.tokens * sign
  sum.cost = sum.cost + estimate.cost * sign
end
local function count(flow, ticket, sign)
  flow.waiting = flow.waiting + sign
  flow.waiting_share = flow.waiting == 0 and 0 or flow.waiting_share + sign * turn_of(ticket)
  add_ticket(gate.lanes[flow.lane], ticket, sign)
end
local function forget_unheld(flow)
  if flow.held == 0 then
    records.forget_flow(flow)
  else
    records.flow_changed(flow)
  end
end
local function drop_lead(flow)
  if not flow.is_ahead then return end
  index.remove(index.lead(flow))
  flow.is_ahead = false
  gate.lanes[flow.lane].ahead = gate.lanes[flow.lane].ahead - 1
end
local function drop_turn(flow)
  index.remove(index.turn(flow))
  gate.lanes[flow.lane].backlogged = gate.lanes[flow.lane].backlogged - 1
end
local function first_lead(lane_index)
  if gate.lanes[lane_index].ahead == 0 then return nil end
  local member = index.first('A' .. lane_index)
  return records.flow(lane_index, string.sub(member, 11))
end
local function forget_passed(lane_index)
  local lane = gate.lanes[lane_index]
  local flow = first_lead(lane_index)
  while flow and flow.tag <= lane.virtual_time do
    drop_lead(flow)
    forget_unheld(flow)
    flow = first_lead(lane_index)
  end
end
local function rest(flow)
  local lane = gate.lanes[flow.lane]
  drop_lead(flow)
  if flow.tag <= lane.virtual_time then
    forget_unheld(flow)
  elseif lane.backlogged == 0 and lane.ahead == 0 then
    lane.virtual_time = flow.tag
    forget_unheld(flow)
  else
    flow.is_ahead = true
    flow.ahead_at = flow.tag
    lane.ahead = lane.ahead + 1
    index.add(0, index.lead(flow))
    records.flow_changed(flow)
  end
  local most_ahead = lane.backlogged == 0 and 0 or REMEMBERED_LEADS
  while lane.ahead > most_ahead do
    lane.virtual_time = first_lead(flow.lane).tag
    forget_passed(flow.lane)
  end
end
local function stand_in_turn(flow)
  flow.turn_at = flow.turn_tag
  index.add(0, index.turn(flow))
  gate.lanes[flow.lane].backlogged = gate.lanes[flow.lane].backlogged + 1
  records.flow_changed(flow)
end
local function retag(flow, since, order, early)
  drop_turn(flow)
  flow.since, flow.order, flow.early = since, order, early
  flow.turn_tag = math.min(flow.tag, early)
  stand_in_turn(flow)
end
local function early_tag_of_first(flow)
  if not flow.early then flow.early = records.ticket(flow.first).early_tag end
  return flow.early
end
local function is_older(ticket, flow)
  if ticket.lane_since ~= flow.since then return ticket.lane_since < flow.since end
  return ticket.order < flow.order
end
local function flow_for(ticket)
  local lane = state.lane(ticket.lane)
  local flow = records.flow(ticket.lane, ticket.flow)
  if not flow then
    return {
      lane = ticket.lane,
      name = ticket.flow,
      tag = lane.virtual_time,
      turn_tag = lane.virtual_time,
      held = 0,
      waiting = 0,
      waiting_share = 0,
      turn_at = 0,
      since = 0,
      order = 0,
      ahead_at = 0,
      is_ahead = false,
      first = '',
    }
  end
  if flow.waiting == 0 then
    drop_lead(flow)
    flow.tag = math.max(flow.tag, lane.virtual_time)
  end
  return flow
end
local function join(ticket, early_tag)
  local flow = flow_for(ticket)
  local was_idle = flow.waiting == 0
  ticket.in_flow = true
  ticket.early_tag = early_tag
  ticket.joined_at_turn = gate.turns
  ticket.start_tag = math.min(early_tag, flow.tag + flow.waiting_share)
  records.ticket_changed(ticket)
  index.add(0, index.in_flow(ticket), 0, index.in_lane(ticket))
  count(flow, ticket, 1)
  if was_idle then
    flow.first = ticket.id
    flow.since, flow.order, flow.early = ticket.lane_since, ticket.order, early_tag
    flow.turn_tag = math.min(flow.tag, early_tag)
    stand_in_turn(flow)
  elseif is_older(ticket, flow) then
    flow.first = ticket.id
    retag(flow, ticket.lane_since, ticket.order, early_tag)
  else
    records.flow_changed(flow)
  end
end
local function unlink(flow, ticket)
  index.remove(index.in_flow(ticket), index.in_lane(ticket))
  count(flow, ticket, -1)
  if flow.first ~= ticket.id then return false end
  if flow.waiting > 0 then
    local prefix = index.of_flow(flow.lane, flow.name)
    flow.next_since, flow.next_order, flow.next_early, flow.first =
      index.read_in_flow(index.first(prefix), prefix)
  end
  return true
end
local function follow_up(flow, was_first)
  if flow.waiting == 0 then
    drop_turn(flow)
    rest(flow)
  elseif was_first then
    retag(flow, flow.next_since, flow.next_order, flow.next_early)
  else
    records.flow_changed(flow)
  end
end
function queue.append(ticket)
  join(ticket, NEVER)
end
function queue.restore(ticket, start_tag)
  join(ticket, start_tag)
end
function queue.remove(ticket)
  local flow = records.flow(ticket.lane, ticket.flow)
  if flow.first == ticket.id then ticket.start_tag = flow.turn_tag end
  local was_first = unlink(flow, ticket)
  ticket.in_flow = false
  records.ticket_changed(ticket)
  follow_up(flow, was_first)
end
function queue.raise(ticket, now)
  if ticket.lane == 0 then return false end
  queue.remove(ticket)
  ticket.lane = ticket.lane - 1
  ticket.lane_since = now
  queue.append(ticket)
  return true
end
local function was_passed_over(lane_index, joined_at_turn)
  for higher = 0, lane_index - 1 do
    if gate.lanes[higher].last_turn > joined_at_turn then return true end
  end
  return false
end
local function oldest_passed_over(lane_index)
  if gate.lanes[lane_index].tickets == 0 or not was_passed_over(lane_index, 0) then return nil end
  local since, joined, id = index.read_in_lane(index.first('G' .. lane_index))
  if was_passed_over(lane_index, joined) then return since, id end
  return nil
end
local function age(now)
  for lane_index = 3, 1, -1 do
    local since, id = oldest_passed_over(lane_index)
    while since and since + gate.aging_ms <= now do
      local ticket = records.ticket(id)
      queue.remove(ticket)
      ticket.lane = lane_index - 1
      ticket.lane_since = ticket.lane_since + gate.aging_ms
      queue.append(ticket)
      since, id = oldest_passed_over(lane_index)
    end
  end
end
function queue.next_rise_at()
  local rise_at = NEVER
  for lane_index = 1, 3 do
    local since = oldest_passed_over(lane_index)
    if since then rise_at = math.min(rise_at, since + gate.aging_ms) end
  end
  return rise_at
end
function queue.head(now)
  if waiting_in_line() == 0 then return nil end
  age(now)
  for lane_index = 0, 3 do
    if gate.lanes[lane_index].backlogged > 0 then
      local flow = records.flow(lane_index, string.sub(index.first('B' .. lane_index), 27))
      return records.ticket(flow.first)
    end
  end
  return nil
end
local function count_turn(flow, ticket)
  local lane = gate.lanes[flow.lane]
  gate.turns = gate.turns + 1
  lane.last_turn = gate.turns
  lane.virtual_time = math.max(lane.virtual_time, flow.turn_tag)
  ticket.start_tag = flow.turn_tag
end
local function count_held(flow, ticket)
  flow.held = flow.held + 1
  flow.tag = flow.tag + turn_of(ticket)
end
function queue.serve(ticket)
  local flow = records.flow(ticket.lane, ticket.flow)
  count_turn(flow, ticket)
  local was_first = unlink(flow, ticket)
  count_held(flow, ticket)
  follow_up(flow, was_first)
  forget_passed(flow.lane)
end
function queue.pass(ticket, early_tag)
  local flow = flow_for(ticket)
  ticket.in_flow = true
  ticket.early_tag = early_tag
  ticket.joined_at_turn = gate.turns
  flow.turn_tag = math.min(flow.tag, early_tag)
  count_turn(flow, ticket)
  count_held(flow, ticket)
  rest(flow)
  forget_passed(flow.lane)
end
function queue.correct(ticket, share_delta)
  if not ticket.in_flow or share_delta == 0 then return end
  local flow = records.flow(ticket.lane, ticket.flow)
  flow.tag = flow.tag + time_of(ticket, share_delta)
  if flow.waiting > 0 then
    retag(flow, flow.since, flow.order, early_tag_of_first(flow))
  else
    rest(flow)
  end
end
function queue.finish(ticket)
  if not ticket.in_flow then return end
  local flow = records.flow(ticket.lane, ticket.flow)
  ticket.in_flow = false
  flow.held = flow.held - 1
  if flow.waiting == 0 then
    rest(flow)
  else
    records.flow_changed(flow)
  end
end
function queue.start_tag_of(ticket)
  local lane = gate.lanes[ticket.lane]
  local flow = records.flow(ticket.lane, ticket.flow)
  if not flow then return lane.virtual_time end
  return math.max(lane.virtual_time, flow.tag) + flow.waiting_share
end
function queue.ahead_of(ticket)
  local ahead = state.no_backlog()
  for higher = 0, ticket.lane - 1 do
    add_backlog(ahead, gate.lanes[higher], 1)
  end
  local lane = gate.lanes[ticket.lane]
  local others = state.no_backlog()
  add_backlog(others, lane, 1)
  local is_in_line = ticket.in_flow
  local rounds
  if is_in_line then
    add_ticket(others, ticket, -1)
    rounds = index.rank(index.of_flow(ticket.lane, ticket.flow), index.in_flow(ticket))
  else
    local flow = records.flow(ticket.lane, ticket.flow)
    rounds = flow and flow.waiting > 0 and flow.waiting or 1
  end
  local before = rounds * lane.backlogged - (is_in_line and 1 or 0)
  if others.tickets > 0 then add_backlog(ahead, others, math.min(1, before / others.tickets)) end
  return ahead
end
-- end lib/fair-queue
`,
  gate: `-- lib/gate
local BY_LIMIT, BY_PAUSE, BY_RAMP, BY_OVERLOAD = 1, 2, 3, 4
local FIRST_PAUSE_MS = 1000
local LONGEST_GUESSED_PAUSE_MS = 60000
local LONGEST_PAUSE_MS = 3600000
local lease = {}
local line = {}
local function number(x)
  return string.format('%.17g', x)
end
local function expire_at(holder, at)
  if holder.expires_at == at then return end
  index.remove(index.expiry(holder))
  holder.expires_at = at
  gate.next_expiry_at = math.min(gate.next_expiry_at, at)
  index.add(0, index.expiry(holder))
  records.holder_changed(holder)
end
local function see_holder(ticket)
  local holder = records.holder(ticket.holder)
  local at = gate.now + ticket.holder_ttl
  if not holder then
    holder = { id = ticket.holder, expires_at = at, waiting = 0, held = 0, newest = '' }
    index.add(0, index.expiry(holder))
    gate.next_expiry_at = math.min(gate.next_expiry_at, at)
  elseif ticket.holder ~= ticket.owner and holder.expires_at < at then
    expire_at(holder, at)
  end
  holder.newest = ticket.id
  records.holder_changed(holder)
  return holder
end
local function hear_of(id, ttl)
  local holder = records.holder(id)
  local is_news = holder and holder.expires_at < gate.now + ttl
  if is_news then expire_at(holder, gate.now + ttl) end
  return is_news
end
local function count_for_holder(ticket, waiting, held)
  local holder = records.holder(ticket.holder)
  holder.waiting = holder.waiting + waiting
  holder.held = holder.held + held
  records.holder_changed(holder)
  if holder.waiting + holder.held == 0 and ticket.holder ~= ticket.owner then
    index.remove(index.expiry(holder))
    records.forget_holder(holder)
  end
end
function line.take(ticket)
  index.add(0, index.by_arrival(ticket))
end
function line.leave(ticket)
  index.remove(index.by_arrival(ticket))
  if ticket.state == WAITING then
    queue.remove(ticket)
  elseif ticket.state == RETRYING then
    index.remove(index.by_retry(ticket))
    gate.retrying = gate.retrying - 1
  end
end
local function tell(owner, ids, what)
  local channel = string.match(key.state, '^[^{]*') .. 'grants:' .. owner
  redis.call('PUBLISH', channel, cjson.encode({ arg.resource, number(gate.now), ids, what }))
end
local function is_another_s(ticket)
  return ticket.owner ~= arg.instance and ticket.owner ~= ticket.holder
end
function line.take_over(ticket)
  if not is_another_s(ticket) then return end
  tell(ticket.owner, { ticket.id }, 'lost')
  ticket.owner = arg.instance
  records.ticket_changed(ticket)
end
function line.forget(ticket)
  if is_another_s(ticket) then tell(ticket.owner, { ticket.id }, 'lost') end
  gate.tickets = gate.tickets - 1
  records.forget_ticket(ticket)
end
local function reprice(ticket, estimate)
  ticket.estimate = estimate
  ticket.share = limits.share_of(gate, estimate)
end
function lease.hold(ticket)
  gate.held = gate.held + 1
  ticket.state = HELD
  limits.take(gate, ticket.estimate)
  if gate.learns then underway.depart(gate, ticket) end
  records.ticket_changed(ticket)
end
function lease.find(id)
  local ticket = records.ticket(id)
  if not ticket or ticket.state ~= HELD then return nil end
  return ticket
end
function lease.take(ticket)
  records.read_behind(ticket)
  gate.held = gate.held - 1
  if gate.learns then underway.remove(gate, ticket) end
end
function lease.recharge(ticket, cost)
  limits.correct(gate, ticket.estimate, cost, ticket.granted_at)
  local share = limits.share_of(gate, cost)
  queue.correct(ticket, share - ticket.share)
  ticket.share = share
end
function lease.finish(ticket)
  limits.free_slot(gate, ticket.granted_at)
  queue.finish(ticket)
end
function lease.refund(ticket)
  limits.give_back(gate, ticket.estimate, ticket.granted_at)
  queue.correct(ticket, -ticket.share)
  queue.finish(ticket)
end
local function ready_at(cost)
  local now = gate.now
  local at = now
  gate.bound_kind, gate.bound_index = 0, 0
  if gate.paused_until > at then
    at = gate.paused_until
    gate.bound_kind = BY_PAUSE
  end
  if not gate.ramp.is_open then
    local ramp_at = ramp.ready_at(gate.ramp, now)
    if ramp_at > at then
      at = ramp_at
      gate.bound_kind = BY_RAMP
    end
  end
  local limits_at, bound_index = limits.ready_at(gate, cost)
  if limits_at > at and bound_index > 0 then
    at = limits_at
    gate.bound_kind, gate.bound_index = BY_LIMIT, bound_index
  end
  if not overload.admits(gate.overload, gate.held) then
    at = NEVER
    gate.bound_kind, gate.bound_index = BY_OVERLOAD, 0
  end
  return at
end
local function next_retry()
  local member = index.first('R')
  if not member then return nil end
  local id, at = index.read_timed(member)
  return records.ticket(id), at
end
local function release_retries()
  while gate.retrying > 0 do
    local ticket, at = next_retry()
    if at > gate.now or meters.ready_at(state.retry_budget(), 1, gate.now) > gate.now then return end
    index.remove(index.by_retry(ticket))
    gate.retrying = gate.retrying - 1
    meters.take(state.retry_budget(), 1, gate.now)
    ticket.state = WAITING
    queue.restore(ticket, ticket.start_tag)
  end
end
local function next_retry_at()
  if gate.retrying == 0 then return NEVER end
  local _, at = next_retry()
  return math.max(at, meters.ready_at(state.retry_budget(), 1, gate.now))
end
local function announce(ticket)
  gate.grants[#gate.grants + 1] = ticket
end
local function admit(ticket)
  index.remove(index.by_arrival(ticket))
  count_for_holder(ticket, -1, 1)
  queue.serve(ticket)
  ticket.granted_at = gate.now
  ticket.produced = -1
  lease.hold(ticket)
  ramp.admitted(gate.ramp, gate.now)
  announce(ticket)
end
local function expire_ticket(ticket)
  if ticket.state == HELD then
    lease.take(ticket)
    lease.finish(ticket)
  else
    line.leave(ticket)
  end
  line.forget(ticket)
end
local function expire()
  while gate.next_expiry_at <= gate.now do
    local member = index.first('X')
    local holder = member and records.holder(index.read_expiry(member))
    gate.next_expiry_at = holder and holder.expires_at or NEVER
    if gate.next_expiry_at > gate.now then return end
    gate.is_changed = true
    for _, ticket in ipairs(records.tickets_of(holder)) do
      expire_ticket(ticket)
    end
    index.remove(member)
    records.forget_holder(holder)
  end
end
local function pump()
  while true do
    release_retries()
    local ticket = queue.head(gate.now)
    if not ticket then
      gate.bound_kind, gate.bound_index = 0, 0
      gate.next_at = next_retry_at()
      return
    end
    local at = ready_at(ticket.estimate)
    if at > gate.now then
      gate.next_at = math.min(at, next_retry_at())
      return
    end
    admit(ticket)
  end
end
local KINDS = { [0] = '', 'limit', 'paused', 'ramp', 'overload' }
local function binding(kind, meter_index)
  local m = kind == BY_LIMIT and gate.meters[meter_index]
  if not m then return { KINDS[kind] } end
  return { KINDS[kind], m.dimension, m.algorithm, number(m.amount), number(m.window_ms), number(m.capacity), m.source }
end
local function predict(ticket)
  local ahead = queue.ahead_of(ticket)
  local paused = math.max(gate.paused_until, ramp.ready_at(gate.ramp, gate.now))
  local at, bound_index = limits.ready_in_long_run(gate, ahead, ticket.estimate)
  local expected_at = math.max(paused, at)
  local position = math.floor(ahead.tickets + 0.5)
  if bound_index > 0 and at > paused then return position, expected_at, BY_LIMIT, bound_index end
  if gate.paused_until > gate.now then return position, expected_at, BY_PAUSE, 0 end
  local bound = gate.meters[gate.bound_index]
  local until_event = gate.bound_kind == BY_OVERLOAD
    or (gate.bound_kind == BY_LIMIT and bound.algorithm == 'concurrency')
  return position, until_event and NEVER or expected_at, gate.bound_kind, gate.bound_index
end
local function prediction(ticket)
  local position, expected_at, kind, meter_index = predict(ticket)
  return number(position), number(expected_at), binding(kind, meter_index)
end
local function view_of(ticket)
  local is_held = ticket.state == HELD
  local estimate = ticket.estimate
  local holder = records.holder(ticket.holder)
  return {
    ticket.id,
    ticket.flow,
    ticket.lane,
    number(estimate.requests),
    number(estimate.input_tokens),
    number(estimate.output_tokens),
    number(estimate.tokens),
    number(estimate.cost),
    number(ticket.enqueued_at),
    is_held and number(ticket.granted_at) or '',
    number(holder and holder.expires_at or NEVER),
  }
end
local function set_alarm()
  local wake_at = math.min(gate.next_at, queue.next_rise_at(), gate.next_expiry_at)
  local is_kept = gate.alarm_owner ~= arg.instance and gate.alarm_at > gate.now and gate.alarm_at <= wake_at
  if is_kept then return nil end
  gate.alarm_owner = arg.instance
  gate.alarm_at = wake_at < NEVER and wake_at or -NEVER
  return wake_at < NEVER and wake_at or nil
end
local function tell_grants(told_otherwise)
  local own, others = {}, {}
  if #gate.grants == 0 then return own end
  for _, ticket in ipairs(gate.grants) do
    if ticket.owner ~= arg.instance then
      local ids = others[ticket.owner] or {}
      ids[#ids + 1] = ticket.id
      others[ticket.owner] = ids
    elseif not (told_otherwise and told_otherwise[ticket.id]) then
      own[#own + 1] = ticket.id
    end
  end
  for owner, ids in pairs(others) do
    tell(owner, ids)
  end
  return own
end
local function answer_of(wake_at, own, result)
  local answer = { 'ok', number(gate.now), gate.life, wake_at, own }
  for _, part in ipairs(result) do
    answer[#answer + 1] = part
  end
  return answer
end
local function close(result, told_otherwise)
  pump()
  if type(result) == 'function' then result = result() end
  local own = tell_grants(told_otherwise)
  local wake_at = set_alarm()
  records.write(gate.tickets > 0)
  state.write()
  return answer_of(wake_at and number(wake_at) or '', own, result)
end
local function show(result)
  if gate.is_changed then return close(result) end
  return answer_of('-', {}, result())
end
local DONE, NOT_DONE = { '1' }, { '0' }
local function done(is_done)
  return close(is_done and DONE or NOT_DONE)
end
local function open()
  local answer = state.open(true)
  if answer then return answer end
  expire()
  return nil
end
local function open_known()
  local answer = state.open(false)
  if answer then return answer end
  expire()
  return nil
end
local function fuse(observed, sent_at)
  if not gate.learns then return end
  local is_news = limits.fuse(gate, observed, sent_at)
  if is_news then gate.known_since = math.min(gate.known_since, gate.now) end
  if is_news and gate.refused_at == -NEVER then ramp.open(gate.ramp) end
end
local function refused(retry_after_ms, observed, sent_at)
  local known_since = gate.known_since
  fuse(observed, sent_at)
  local guessed = FIRST_PAUSE_MS * 2 ^ math.min(gate.refused_in_a_row, 6)
  local pause_ms = retry_after_ms > 0 and retry_after_ms or math.min(guessed, LONGEST_GUESSED_PAUSE_MS)
  gate.paused_until = math.max(gate.paused_until, gate.now + math.min(pause_ms, LONGEST_PAUSE_MS))
  ramp.start(gate.ramp, ramp.AFTER_REFUSAL)
  if sent_at <= gate.refused_at then return end
  gate.refused_at = gate.now
  gate.refused_in_a_row = gate.refused_in_a_row + 1
  if sent_at >= known_since then limits.surprised(gate) end
end
-- end lib/gate
`,
}

export interface AnsweredArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** how long that took, where it says something of load; else below zero */
  readonly firstAnswerMs: number
}

/** The provider has begun to answer a lease: news for the ramp and for the bounds on load. */
const answered: Script<AnsweredArgs> = {
  name: 'answered',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, doubles([a.revision, a.firstAnswerMs])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[4])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  first_answer_ms = n2,
}
local answer = open_known()
if answer then return answer end
gate.refused_in_a_row = 0
ramp.succeeded(gate.ramp)
overload.succeeded(gate.overload, arg.first_answer_ms, gate.now)
meters.correct(state.retry_budget(), -1, gate.now, gate.now)
return close({})
`,
}

export interface BounceArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  /** 'rate_limited', 'overloaded', 'disconnected' or 'repriced' */
  readonly why: string
  /** of the two in the middle */
  readonly backoffMs: number
  /** of the first; below zero when the provider gave none */
  readonly retryAfterMs: number
  /** of the first: what it says of the limits, as JSON */
  readonly observed: string
  /** of the first: when the request left, by the gate's time */
  readonly sentAt: number
  /** of the last: the new price */
  readonly estimate: CostVector
}

/**
 * A lease could not be used. Its ticket goes back to the front of its flow, for nothing.
 *
 * Answer: '1', or '0' when it is no lease
 */
const bounce: Script<BounceArgs> = {
  name: 'bounce',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.id,
    a.why,
    a.observed,
    doubles([
      a.revision,
      a.backoffMs,
      a.retryAfterMs,
      a.sentAt,
      a.estimate.requests,
      a.estimate.input_tokens,
      a.estimate.output_tokens,
      a.estimate.tokens,
      a.estimate.cost,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6, n7, n8, n9 = struct.unpack('<ddddddddd', ARGV[7])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  why = ARGV[5],
  backoff_ms = n2,
  retry_after_ms = n3,
  observed = ARGV[6],
  sent_at = n4,
  estimate = { requests = n5, input_tokens = n6, output_tokens = n7, tokens = n8, cost = n9 },
}
local answer = open_known()
if answer then return answer end
local ticket = lease.find(arg.id)
if not ticket then return done(false) end
local why = arg.why
lease.take(ticket)
if why == 'overloaded' then overload.overloaded(gate.overload, gate.held + 1, gate.now) end
lease.refund(ticket)
if why == 'rate_limited' then
  refused(arg.retry_after_ms, cjson.decode(arg.observed), arg.sent_at)
elseif why == 'repriced' then
  if gate.learns then underway.undo_departure(gate, ticket) end
  reprice(ticket, arg.estimate)
end
line.take(ticket)
count_for_holder(ticket, 1, -1)
if why == 'overloaded' or why == 'disconnected' then
  ticket.state = RETRYING
  ticket.retry_at = gate.now + arg.backoff_ms
  gate.retrying = gate.retrying + 1
  index.add(0, index.by_retry(ticket))
  records.ticket_changed(ticket)
else
  ticket.state = WAITING
  queue.restore(ticket, ticket.start_tag)
end
return done(true)
`,
}

export interface CancelArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
}

/**
 * Takes a ticket out of line.
 *
 * Answer: nothing when it does not wait here, else its place: when it was enqueued, its lane, since
 * when it is in that, the virtual time at which its turn would have started
 */
const cancel: Script<CancelArgs> = {
  name: 'cancel',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
}
local answer = open_known()
if answer then return answer end
local ticket = records.ticket(arg.id)
if not ticket or ticket.state == HELD then return close({}) end
line.leave(ticket)
count_for_holder(ticket, -1, 0)
line.forget(ticket)
return close({
  number(ticket.enqueued_at),
  number(ticket.lane),
  number(ticket.lane_since),
  number(ticket.start_tag),
})
`,
}

export interface EnqueueArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  readonly flow: string
  /** 0 for critical to 3 for low; a place's lane where it has one */
  readonly lane: number
  readonly weight: number
  readonly estimate: CostVector
  /** by the gate's time */
  readonly deadlineAt: number
  readonly parked: boolean
  /** who must be alive for it to last */
  readonly holder: string
  /** milliseconds */
  readonly holderTtl: number
  readonly hasPlace: boolean
  /** of the place, as the two that follow */
  readonly enqueuedAt: number
  readonly laneSince: number
  readonly startTag: number
}

/**
 * Puts a ticket in line, lets it pass at once, or refuses it. A repeated id gets the present
 * answer, and is the asking process's from then on.
 *
 * Answer: 'admitted', or 'waiting' or 'refused' (then a reason), position, expected instant,
 * binding
 */
const enqueue: Script<EnqueueArgs> = {
  name: 'enqueue',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.id,
    a.flow,
    a.holder,
    doubles([
      a.revision,
      a.lane,
      a.weight,
      a.estimate.requests,
      a.estimate.input_tokens,
      a.estimate.output_tokens,
      a.estimate.tokens,
      a.estimate.cost,
      a.deadlineAt,
      a.parked ? 1 : 0,
      a.holderTtl,
      a.hasPlace ? 1 : 0,
      a.enqueuedAt,
      a.laneSince,
      a.startTag,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, n12, n13, n14, n15 = struct.unpack('<ddddddddddddddd', ARGV[7])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  flow = ARGV[5],
  lane = n2,
  weight = n3,
  estimate = { requests = n4, input_tokens = n5, output_tokens = n6, tokens = n7, cost = n8 },
  deadline_at = n9,
  parked = n10 == 1,
  holder = ARGV[6],
  holder_ttl = n11,
  has_place = n12 == 1,
  enqueued_at = n13,
  lane_since = n14,
  start_tag = n15,
}
local answer = open()
if answer then return answer end
local function arrive()
  local order = gate.arrivals
  gate.arrivals = order + 1
  return {
    id = arg.id,
    state = WAITING,
    lane = arg.lane,
    in_flow = false,
    weight = arg.weight,
    estimate = arg.estimate,
    share = limits.share_of(gate, arg.estimate),
    enqueued_at = arg.has_place and arg.enqueued_at or gate.now,
    order = order,
    granted_at = -NEVER,
    produced = -1,
    retry_at = 0,
    lane_since = arg.has_place and arg.lane_since or gate.now,
    start_tag = 0,
    joined_at_turn = 0,
    early_tag = NEVER,
    holder_ttl = arg.holder_ttl,
    flow = arg.flow,
    owner = arg.instance,
    holder = arg.holder,
  }
end
local function passes_at_once(ticket)
  return not arg.parked and queue.waiting() == 0 and ready_at(ticket.estimate) <= gate.now
end
local function pass(ticket)
  gate.tickets = gate.tickets + 1
  see_holder(ticket)
  queue.pass(ticket, arg.has_place and arg.start_tag or NEVER)
  ticket.granted_at = gate.now
  lease.hold(ticket)
  count_for_holder(ticket, 0, 1)
  ramp.admitted(gate.ramp, gate.now)
end
local function refusal_of(ticket)
  if arg.has_place then return nil end
  local position, expected_at, kind, meter_index = predict(ticket)
  local reason
  if gate.tickets - gate.held >= gate.max_queued then
    reason = 'queue_full'
  elseif expected_at > arg.deadline_at and expected_at ~= NEVER then
    reason = 'wait_too_long'
  else
    return nil
  end
  return { 'refused', reason, number(position), number(expected_at), binding(kind, meter_index) }
end
local function wait(ticket)
  gate.tickets = gate.tickets + 1
  see_holder(ticket)
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  if arg.parked then
    ticket.state = PARKED
    ticket.start_tag = arg.has_place and arg.start_tag or queue.start_tag_of(ticket)
    records.ticket_changed(ticket)
  elseif arg.has_place then
    queue.restore(ticket, arg.start_tag)
  else
    queue.append(ticket)
  end
end
records.read_ahead(arg.id, arg.lane, arg.flow, arg.holder)
local ticket = records.ticket(arg.id)
local refusal
if ticket then
  hear_of(arg.holder, arg.holder_ttl)
  line.take_over(ticket)
else
  ticket = arrive()
  if passes_at_once(ticket) then
    pass(ticket)
  else
    refusal = refusal_of(ticket)
    if not refusal then wait(ticket) end
  end
end
return close(function()
  if refusal then return refusal end
  if ticket.state == HELD then return { 'admitted' } end
  return { 'waiting', prediction(ticket) }
end, { [arg.id] = true })
`,
}

export interface LeaveArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  /** leaves it alone if another process has asked for it since */
  readonly onlyOwn: boolean
}

/**
 * Takes a ticket out, whether it waits or is a lease: what a lease took is given back.
 *
 * Answer: '1', or '0' when it is not here, or is left alone
 */
const leave: Script<LeaveArgs> = {
  name: 'leave',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision, a.onlyOwn ? 1 : 0])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  only_own = n2 == 1,
}
local answer = open_known()
if answer then return answer end
local ticket = records.ticket(arg.id)
if not ticket or (arg.only_own and is_another_s(ticket)) then return done(false) end
if ticket.state == HELD then
  lease.take(ticket)
  count_for_holder(ticket, 0, -1)
  lease.refund(ticket)
else
  line.leave(ticket)
  count_for_holder(ticket, -1, 0)
end
line.forget(ticket)
return done(true)
`,
}

export interface MergeInArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** as JSON: pairs of an id and a record in hexadecimal digits, in order of arrival */
  readonly tickets: string
}

/** Takes in what another gate gave up, bounds and deadlines aside. */
const mergeIn: Script<MergeInArgs> = {
  name: 'mergeIn',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.tickets, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  tickets = ARGV[4],
}
local answer = open()
if answer then return answer end
local function from_hex(digits)
  return (string.gsub(digits, '..', function(byte)
    return string.char(tonumber(byte, 16))
  end))
end
local function adopt(ticket)
  ticket.in_flow = false
  ticket.order = gate.arrivals
  gate.arrivals = gate.arrivals + 1
  gate.tickets = gate.tickets + 1
  ticket.share = limits.share_of(gate, ticket.estimate)
  see_holder(ticket)
  if ticket.state == HELD then
    lease.hold(ticket)
    count_for_holder(ticket, 0, 1)
    return
  end
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  ticket.start_tag = queue.start_tag_of(ticket)
  if ticket.state == WAITING then
    queue.append(ticket)
    return
  end
  if ticket.state == RETRYING then
    gate.retrying = gate.retrying + 1
    index.add(0, index.by_retry(ticket))
  end
  records.ticket_changed(ticket)
end
limits.forget_others(gate)
for _, pair in ipairs(cjson.decode(arg.tickets)) do
  if not records.ticket(pair[1]) then adopt(unpack_ticket(pair[1], from_hex(pair[2]))) end
end
return close({})
`,
}

export interface MergeOutArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** the other resource's name */
  readonly into: string
}

/**
 * Gives up all tickets and leases for another gate to take in; this one is that one's part from now
 * on.
 *
 * Answer: for each ticket its id and its record, as hexadecimal digits, in order of arrival
 */
const mergeOut: Script<MergeOutArgs> = {
  name: 'mergeOut',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.into, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  into = ARGV[4],
}
local MERGED_IS_KNOWN_MS = 86400000
local answer = state.open(true)
if answer then return answer end
if arg.into == arg.resource then return { 'ok', number(gate.now), gate.life, '', {}, {} } end
local function in_hex(text)
  return (string.gsub(text, '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end))
end
local tickets = {}
local all = redis.call('HGETALL', key.records)
for position = 1, #all, 2 do
  if string.sub(all[position], 1, 1) == 't' then
    local id = string.sub(all[position], 2)
    tickets[#tickets + 1] = { ticket = unpack_ticket(id, all[position + 1]), packed = all[position + 1] }
  end
end
table.sort(tickets, function(a, b)
  if a.ticket.enqueued_at ~= b.ticket.enqueued_at then return a.ticket.enqueued_at < b.ticket.enqueued_at end
  return a.ticket.order < b.ticket.order
end)
local given = {}
for _, found in ipairs(tickets) do
  given[#given + 1] = found.ticket.id
  given[#given + 1] = in_hex(found.packed)
end
redis.call('DEL', key.records, key.index, key.departures)
state.begin(gate.now)
gate.merged_into = arg.into
limits.configure(gate, cjson.decode(arg.settings ~= '' and arg.settings or '{"limits":[]}'), gate.now)
state.write()
redis.call('PEXPIRE', key.state, MERGED_IS_KNOWN_MS)
return { 'ok', number(gate.now), gate.life, '', {}, given }
`,
}

export interface MineArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** as JSON */
  readonly ids: string
}

/**
 * Which of some tickets and leases are here, and this process's to be told of.
 *
 * Answer: their ids
 */
const mine: Script<MineArgs> = {
  name: 'mine',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.ids, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  ids = ARGV[4],
}
local answer = open_known()
if answer then return answer end
return show(function()
  local mine = {}
  for _, id in ipairs(cjson.decode(arg.ids)) do
    local ticket = records.ticket(id)
    if ticket and ticket.owner == arg.instance then mine[#mine + 1] = id end
  end
  return { mine }
end)
`,
}

export interface ObserveArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** as JSON */
  readonly observed: string
  /** when the request left, by the gate's time */
  readonly sentAt: number
}

/** Takes in what an answer says of the provider's limits. */
const observe: Script<ObserveArgs> = {
  name: 'observe',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.observed, doubles([a.revision, a.sentAt])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  observed = ARGV[4],
  sent_at = n2,
}
local answer = open()
if answer then return answer end
fuse(cjson.decode(arg.observed), arg.sent_at)
return close({})
`,
}

export interface OwnedArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly holder: string
}

/**
 * The tickets and leases of a holder.
 *
 * Answer: their ids
 */
const owned: Script<OwnedArgs> = {
  name: 'owned',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.holder, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  holder = ARGV[4],
}
local answer = open_known()
if answer then return answer end
return show(function()
  local ids = {}
  local holder = records.holder(arg.holder)
  for _, ticket in ipairs(holder and records.tickets_of(holder) or {}) do
    ids[#ids + 1] = ticket.id
  end
  return { ids }
end)
`,
}

export interface PauseArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** by the gate's time */
  readonly pauseUntil: number
}

/** Admits nobody before an instant. An earlier pause is never shortened. */
const pause: Script<PauseArgs> = {
  name: 'pause',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, doubles([a.revision, a.pauseUntil])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[4])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  pause_until = n2,
}
local answer = open()
if answer then return answer end
gate.paused_until = math.max(gate.paused_until, math.min(arg.pause_until, gate.now + LONGEST_PAUSE_MS))
return close({})
`,
}

export interface PositionArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
}

/**
 * Where a waiting ticket stands.
 *
 * Answer: nothing when it does not wait here, else position, expected instant, binding
 */
const position: Script<PositionArgs> = {
  name: 'position',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
}
local answer = open_known()
if answer then return answer end
return show(function()
  local ticket = records.ticket(arg.id)
  if not ticket or ticket.state == HELD then return {} end
  return { prediction(ticket) }
end)
`,
}

export interface PumpArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
}

/** Lets pass whoever may pass by now. */
const pump: Script<PumpArgs> = {
  name: 'pump',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[4])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
}
local answer = open_known()
if answer then return answer end
return close({})
`,
}

export interface RaiseArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
}

/**
 * Raises a waiting ticket one lane.
 *
 * Answer: '1', or '0' when it is not in line, or in the highest lane
 */
const raise: Script<RaiseArgs> = {
  name: 'raise',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
}
local answer = open_known()
if answer then return answer end
local ticket = records.ticket(arg.id)
if not ticket or ticket.state ~= WAITING then return done(false) end
return done(queue.raise(ticket, gate.now))
`,
}

export interface RefusedArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /** below zero when the provider gave none */
  readonly retryAfterMs: number
  /** what it says of the limits, as JSON */
  readonly observed: string
  /** when the request left, by the gate's time */
  readonly sentAt: number
}

/** The provider refused a request for a limit's sake, and nobody waits for that one here. */
const refused: Script<RefusedArgs> = {
  name: 'refused',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.observed,
    doubles([a.revision, a.retryAfterMs, a.sentAt]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3 = struct.unpack('<ddd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  retry_after_ms = n2,
  observed = ARGV[4],
  sent_at = n3,
}
local answer = open()
if answer then return answer end
refused(arg.retry_after_ms, cjson.decode(arg.observed), arg.sent_at)
return close({})
`,
}

export interface RejoinArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  /**
   * as JSON: id, flow, lane, weight, estimate, parked, holder, holder_ttl, and where they have one
   * a place (enqueued_at, lane_since, start_tag), granted_at, counted_in
   */
  readonly tickets: string
  /** what ended leases took that no gate has counted */
  readonly spent: CostVector
}

/**
 * Brings tickets to a gate that may not know them; see `Store.rejoin`.
 *
 * Answer: the ids that are leases now, but for those that another process is told of
 */
const rejoin: Script<RejoinArgs> = {
  name: 'rejoin',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.tickets,
    doubles([
      a.revision,
      a.spent.requests,
      a.spent.input_tokens,
      a.spent.output_tokens,
      a.spent.tokens,
      a.spent.cost,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6 = struct.unpack('<dddddd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  tickets = ARGV[4],
  spent = { requests = n2, input_tokens = n3, output_tokens = n4, tokens = n5, cost = n6 },
}
local answer = open()
if answer then return answer end
local function arrive(own)
  local order = gate.arrivals
  gate.arrivals = order + 1
  gate.tickets = gate.tickets + 1
  local place = own.place
  return {
    id = own.id,
    state = WAITING,
    lane = own.lane,
    in_flow = false,
    weight = own.weight,
    estimate = own.estimate,
    share = limits.share_of(gate, own.estimate),
    enqueued_at = place and place.enqueued_at or gate.now,
    order = order,
    granted_at = -NEVER,
    produced = -1,
    retry_at = 0,
    lane_since = place and place.lane_since or gate.now,
    start_tag = 0,
    joined_at_turn = 0,
    early_tag = NEVER,
    holder_ttl = own.holder_ttl,
    flow = own.flow,
    owner = arg.instance,
    holder = own.holder,
  }
end
local function hold_counted(ticket, granted_at)
  ticket.granted_at = granted_at
  ticket.state = HELD
  gate.held = gate.held + 1
  limits.take_slot(gate)
  if gate.learns then underway.add(gate, ticket) end
  records.ticket_changed(ticket)
end
local function hold_uncounted(ticket)
  ticket.granted_at = gate.now
  lease.hold(ticket)
end
local function wait(ticket, own)
  line.take(ticket)
  count_for_holder(ticket, 1, 0)
  local start_tag = own.place and (own.place.start_tag or NEVER)
  if own.parked then
    ticket.state = PARKED
    ticket.start_tag = start_tag or queue.start_tag_of(ticket)
    records.ticket_changed(ticket)
  elseif start_tag then
    queue.restore(ticket, start_tag)
  else
    queue.append(ticket)
  end
end
local function bring_stranger(own)
  local ticket = arrive(own)
  see_holder(ticket)
  if not own.granted_at then
    wait(ticket, own)
    return
  end
  ticket.start_tag = queue.start_tag_of(ticket)
  count_for_holder(ticket, 0, 1)
  if own.counted_in == gate.life then
    hold_counted(ticket, own.granted_at)
  else
    hold_uncounted(ticket)
  end
end
local function bring(own)
  local ticket = records.ticket(own.id)
  if not ticket then
    bring_stranger(own)
    return
  end
  if hear_of(own.holder, own.holder_ttl) then line.take_over(ticket) end
  if own.granted_at and ticket.state ~= HELD then
    line.leave(ticket)
    count_for_holder(ticket, -1, 1)
    ticket.produced = -1
    hold_uncounted(ticket)
  end
end
local spent = arg.spent
if spent.requests + spent.input_tokens + spent.output_tokens + spent.tokens + spent.cost > 0 then
  limits.charge(gate, spent)
end
local told = {}
local tickets = cjson.decode(arg.tickets)
for _, own in ipairs(tickets) do
  told[own.id] = true
  bring(own)
end
return close(function()
  local leases = {}
  for _, own in ipairs(tickets) do
    local ticket = records.ticket(own.id)
    if ticket and ticket.state == HELD and ticket.owner == arg.instance then leases[#leases + 1] = own.id end
  end
  return { leases }
end, told)
`,
}

export interface ReleaseArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
}

/**
 * Ends a lease that cost nothing: all that it took is given back.
 *
 * Answer: '1', or '0' when it had ended before
 */
const release: Script<ReleaseArgs> = {
  name: 'release',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
}
local answer = open_known()
if answer then return answer end
local ticket = lease.find(arg.id)
if not ticket then return done(false) end
lease.take(ticket)
count_for_holder(ticket, 0, -1)
lease.refund(ticket)
line.forget(ticket)
return done(true)
`,
}

export interface RenewArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly holder: string
  /** milliseconds */
  readonly ttl: number
}

/**
 * A sign of life of a holder.
 *
 * Answer: '1', or '0' when it has no tickets here (any more); how many of its tickets wait; its
 * leases
 */
const renew: Script<RenewArgs> = {
  name: 'renew',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.holder, doubles([a.revision, a.ttl])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  holder = ARGV[4],
  ttl = n2,
}
local answer = open_known()
if answer then return answer end
local holder = records.holder(arg.holder)
if holder then expire_at(holder, gate.now + arg.ttl) end
return close(function()
  holder = records.holder(arg.holder)
  if not holder then return { '0', 0, 0 } end
  local is_known = holder.waiting + holder.held > 0
  return { is_known and '1' or '0', holder.waiting, holder.held }
end)
`,
}

export interface ReviseArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  /** what it is now thought to cost in all */
  readonly estimate: CostVector
  /** output tokens that the provider has counted already; -1 while it has not answered */
  readonly produced: number
}

/**
 * Follows a lease as its answer comes.
 *
 * Answer: '1', or '0' when it is no lease
 */
const revise: Script<ReviseArgs> = {
  name: 'revise',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.id,
    doubles([
      a.revision,
      a.estimate.requests,
      a.estimate.input_tokens,
      a.estimate.output_tokens,
      a.estimate.tokens,
      a.estimate.cost,
      a.produced,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6, n7 = struct.unpack('<ddddddd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  estimate = { requests = n2, input_tokens = n3, output_tokens = n4, tokens = n5, cost = n6 },
  produced = n7,
}
local answer = open_known()
if answer then return answer end
local ticket = lease.find(arg.id)
if not ticket then return done(false) end
lease.recharge(ticket, arg.estimate)
if gate.learns then underway.remove(gate, ticket) end
ticket.estimate = arg.estimate
ticket.produced = arg.produced
if gate.learns then underway.add(gate, ticket) end
records.ticket_changed(ticket)
return done(true)
`,
}

export interface SettleArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  readonly actual: CostVector
  /** whether the provider reported it; an estimate may charge more but refunds nothing */
  readonly exact: boolean
}

/**
 * Ends a lease with what it really cost.
 *
 * Answer: '1', or '0' when it had ended before
 */
const settle: Script<SettleArgs> = {
  name: 'settle',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.id,
    doubles([
      a.revision,
      a.actual.requests,
      a.actual.input_tokens,
      a.actual.output_tokens,
      a.actual.tokens,
      a.actual.cost,
      a.exact ? 1 : 0,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6, n7 = struct.unpack('<ddddddd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  actual = { requests = n2, input_tokens = n3, output_tokens = n4, tokens = n5, cost = n6 },
  exact = n7 == 1,
}
local answer = open_known()
if answer then return answer end
local ticket = lease.find(arg.id)
if not ticket then return done(false) end
local actual = arg.actual
if not arg.exact then
  for dimension, least in pairs(ticket.estimate) do
    actual[dimension] = math.max(actual[dimension], least)
  end
end
lease.take(ticket)
count_for_holder(ticket, 0, -1)
lease.recharge(ticket, actual)
lease.finish(ticket)
line.forget(ticket)
return done(true)
`,
}

export interface SnapshotArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
}

/**
 * How the gate stands.
 *
 * Answer: leases, waiting tickets, next admission, binding, end of the pause, concurrency limit,
 * arrival of the oldest ('' where there is none of these), then each limit: dimension, amount,
 * window, remaining, source, guard, what others take a minute ('' where it is not learnt)
 */
const snapshot: Script<SnapshotArgs> = {
  name: 'snapshot',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[4])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
}
local answer = open_known()
if answer then return answer end
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
`,
}

export interface TicketArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
}

/**
 * One of those who are here.
 *
 * Answer: nothing when it is not here, else what `view_of` shows
 */
const ticket: Script<TicketArgs> = {
  name: 'ticket',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, a.id, doubles([a.revision])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1 = struct.unpack('<d', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
}
local answer = open_known()
if answer then return answer end
return show(function()
  local ticket = records.ticket(arg.id)
  return ticket and view_of(ticket) or {}
end)
`,
}

export interface TicketsArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly most: number
}

/**
 * Who is here, in order of arrival. Of more than `most` it is any that are told of: their order is
 * in no index, since that would cost each lease more than all who ever look.
 *
 * Answer: a list: of each ticket what `view_of` shows
 */
const tickets: Script<TicketsArgs> = {
  name: 'tickets',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [a.resource, a.instance, a.settings, doubles([a.revision, a.most])],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2 = struct.unpack('<dd', ARGV[4])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  most = n2,
}
local answer = open_known()
if answer then return answer end
local function by_arrival(a, b)
  if a.enqueued_at ~= b.enqueued_at then return a.enqueued_at < b.enqueued_at end
  return a.order < b.order
end
return show(function()
  local tickets = records.some_tickets(arg.most)
  table.sort(tickets, by_arrival)
  local views = {}
  for position, ticket in ipairs(tickets) do
    views[position] = view_of(ticket)
  end
  return { views }
end)
`,
}

export interface UnparkArgs {
  /** the resource's name */
  readonly resource: string
  /** the process that asks */
  readonly instance: string
  /** when its configuration was made: the newest one is in force */
  readonly revision: number
  /** the configuration as JSON, or nothing while the gate is thought to know it */
  readonly settings: string
  readonly id: string
  readonly estimate: CostVector
}

/**
 * Brings a parked ticket back in line, where it would be by now, with a fresh estimate.
 *
 * Answer: '1', or '0' when it is not parked here
 */
const unpark: Script<UnparkArgs> = {
  name: 'unpark',
  keys: ['state', 'records', 'index', 'departures'],
  args: (a) => [
    a.resource,
    a.instance,
    a.settings,
    a.id,
    doubles([
      a.revision,
      a.estimate.requests,
      a.estimate.input_tokens,
      a.estimate.output_tokens,
      a.estimate.tokens,
      a.estimate.cost,
    ]),
  ],
  libs: `${lib.clock}${lib.leastMissing}${lib.tokenBucket}${lib.slidingWindow}${lib.fixedWindow}${lib.concurrency}${lib.underway}${lib.learntLimit}${lib.meters}${lib.ramp}${lib.overload}${lib.limitSettings}${lib.limitCodec}${lib.limits}${lib.records}${lib.state}${lib.index}${lib.fairQueue}${lib.gate}`,
  body: `key = {
  state = KEYS[1],
  records = KEYS[2],
  index = KEYS[3],
  departures = KEYS[4],
}
local n1, n2, n3, n4, n5, n6 = struct.unpack('<dddddd', ARGV[5])
arg = {
  resource = ARGV[1],
  instance = ARGV[2],
  revision = n1,
  settings = ARGV[3],
  id = ARGV[4],
  estimate = { requests = n2, input_tokens = n3, output_tokens = n4, tokens = n5, cost = n6 },
}
local answer = open_known()
if answer then return answer end
local ticket = records.ticket(arg.id)
if not ticket or ticket.state ~= PARKED then return done(false) end
reprice(ticket, arg.estimate)
ticket.state = WAITING
queue.restore(ticket, ticket.start_tag)
return done(true)
`,
}

export const allScripts = {
  answered,
  bounce,
  cancel,
  enqueue,
  leave,
  mergeIn,
  mergeOut,
  mine,
  observe,
  owned,
  pause,
  position,
  pump,
  raise,
  refused,
  rejoin,
  release,
  renew,
  revise,
  settle,
  snapshot,
  ticket,
  tickets,
  unpark,
}
