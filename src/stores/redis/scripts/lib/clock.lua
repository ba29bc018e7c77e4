-- The time that every decision is made by: the server's, in milliseconds since the epoch.
local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end
