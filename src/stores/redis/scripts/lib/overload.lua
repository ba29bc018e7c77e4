-- How many requests an overloaded provider bears. Owns: the number that follows its overload answers.
-- Mirrors src/core/adaptive-concurrency.ts. Must not know: rate limits, which are another kind of no.
--
-- It has limit (Infinity: none), cut_at, usual_ms (-1: nothing is known) and recent_ms.
-- @module
local overload = {}

-- One burst of refusals is one message: cut once for all that were in flight together.
local CUT_AT_MOST_EVERY_MS = 1000
local CUT_TO = 0.7
-- Without another overload for so long, the provider is trusted as before.
local FORGET_AFTER_MS = 300000
-- First answers this much slower than usual say that more load is unwelcome.
local SLOW_BY = 2
local SHORT_TERM = 0.2
local LONG_TERM = 0.02

function overload.new()
  return { limit = math.huge, cut_at = -math.huge, usual_ms = -1, recent_ms = 0 }
end

-- Whether an overload is recent enough to matter.
function overload.remembers(o, now)
  return now - o.cut_at <= FORGET_AFTER_MS
end

-- How long until no overload is recent enough to matter.
function overload.idle_in_ms(gate)
  return math.max(0, gate.overload.cut_at + FORGET_AFTER_MS - gate.now)
end

function overload.admits(o, in_flight)
  return in_flight == 0 or in_flight + 1 <= o.limit
end

function overload.overloaded(o, in_flight, now)
  if now - o.cut_at < CUT_AT_MOST_EVERY_MS then return end
  o.cut_at = now
  o.limit = math.max(1, math.min(o.limit, in_flight) * CUT_TO)
end

local function learn(o, first_answer_ms)
  if o.usual_ms < 0 then
    o.usual_ms, o.recent_ms = first_answer_ms, first_answer_ms
  end
  o.recent_ms = o.recent_ms + (first_answer_ms - o.recent_ms) * SHORT_TERM
  o.usual_ms = o.usual_ms + (first_answer_ms - o.usual_ms) * LONG_TERM
end

-- `first_answer_ms`: how long the answer took to begin; below zero where that says nothing of load.
function overload.succeeded(o, first_answer_ms, now)
  if first_answer_ms >= 0 then learn(o, first_answer_ms) end
  if o.limit == math.huge then return end
  if not overload.remembers(o, now) then
    o.limit = math.huge
  elseif o.usual_ms < 0 or o.recent_ms <= o.usual_ms * SLOW_BY then
    o.limit = o.limit + 1 / o.limit
  end
end
