-- Admits nobody before an instant. An earlier pause is never shortened.
-- @include gate
-- @arg pause_until number  by the gate's time
local answer = open()
if answer then return answer end

gate.paused_until = math.max(gate.paused_until, math.min(arg.pause_until, gate.now + LONGEST_PAUSE_MS))
return close({})
