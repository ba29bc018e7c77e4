-- The provider refused a request for a limit's sake, and nobody waits for that one here.
-- @include gate
-- @arg retry_after_ms number   below zero when the provider gave none
-- @arg observed text           what it says of the limits, as JSON
-- @arg sent_at number          when the request left, by the gate's time
local answer = open()
if answer then return answer end

refused(arg.retry_after_ms, cjson.decode(arg.observed), arg.sent_at)
return close({})
