-- The provider has begun to answer a lease: news for the ramp and for the bounds on load.
-- @include gate
-- @arg first_answer_ms number  how long that took, where it says something of load; else below zero
local answer = open_known()
if answer then return answer end

gate.refused_in_a_row = 0
ramp.succeeded(gate.ramp)
overload.succeeded(gate.overload, arg.first_answer_ms, gate.now)
meters.correct(state.retry_budget(), -1, gate.now, gate.now)
return close({})
