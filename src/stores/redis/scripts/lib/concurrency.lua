-- Slots that leases hold. Mirrors src/core/meters/concurrency.ts. Must not know: leases.
--
-- Field of its own: `held`.
-- @module
local concurrency = {}

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

-- Slots are free again when their leases end, which no time tells.
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
