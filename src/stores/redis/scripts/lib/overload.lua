-- How many requests an overloaded provider bears. Owns: the number that follows its overload answers.
-- Mirrors src/core/adaptive-concurrency.ts. Must not know: rate limits, which are another kind of no.
--
-- It has limit (Infinity: none), overloaded_at, share (of overload answers), borne, usual_ms (-1: nothing is
-- known) and recent_ms.
-- @module
local overload = {}

-- What one answer weighs among those before it: about the last twenty count.
local NEWS = 0.05
-- Where so many of them are overload answers, there is too much under way. Fewer have other reasons.
local STRAINED = 0.125
-- Of a place, by one overload.
local MOST_TAKEN = 0.5
-- What was borne before is come back to quickly, up to this part of it.
local QUICKLY_UP_TO = 0.9
-- Without another overload for so long, the provider is trusted as before.
local FORGET_AFTER_MS = 300000
-- First answers this much slower than usual say that more load is unwelcome.
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

-- Whether an overload is recent enough to matter.
function overload.remembers(o, now)
  return now - o.overloaded_at <= FORGET_AFTER_MS
end

-- How long until no overload is recent enough to matter.
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
  -- So that a round of nothing else halves it. Rare ones take less.
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

-- `first_answer_ms`: how long the answer took to begin; below zero where that says nothing of load.
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
