-- What is kept of a gate's limits between two operations, as bytes. Owns: their order. Must not know:
-- what any of it means.
--
-- Seven bytes say how many meters there are, whether the gate learns, and which parts follow: those
-- that are as they were at the beginning do not. All is read back exactly; what no operation can tell
-- from the beginning (how an open ramp came to be open) is not kept.
-- @include meters
-- @include underway
-- @include ramp
-- @include overload
-- @module
local limit_codec = {}

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

-- Fills in a gate. Returns the position after the last byte read.
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
