-- Lets pass whoever may pass by now.
-- @include gate
local answer = open_known()
if answer then return answer end
return close({})
