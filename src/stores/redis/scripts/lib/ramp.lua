-- Starting slowly. Owns: how many admissions may follow a start or a pause before the answers show
-- that more are welcome. Mirrors src/core/ramp.ts. Must not know: limits, tickets.
--
-- A ramp has is_open and, while it is not, first, doubles_every_ms, most_by_silence, started_at,
-- admitted, succeeded.
-- @module
local ramp = {
  -- Before anything is known of a provider's limits.
  COLD_START = { first = 4, doubles_every_ms = 1000, most_by_silence = 64 },
  -- After the provider has refused: the first admission is a probe.
  AFTER_REFUSAL = { first = 1, doubles_every_ms = 250, most_by_silence = 64 },
}

local PROBE_EVERY_MS = 1000
-- A ramp that has opened this far holds nobody back any more.
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

-- Exact for powers of two, which a quotient of logarithms is not.
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

-- An answer has begun. Of those, no more can be news of this ramp than it has admitted.
function ramp.succeeded(r)
  if not r.is_open and r.succeeded < r.admitted then r.succeeded = r.succeeded + 1 end
end
