-- Takes in what an answer says of the provider's limits.
-- @include gate
-- @arg observed text    as JSON
-- @arg sent_at number   when the request left, by the gate's time
local answer = open()
if answer then return answer end

fuse(cjson.decode(arg.observed), arg.sent_at)
return close({})
