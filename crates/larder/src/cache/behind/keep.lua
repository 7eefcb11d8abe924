#!lua flags=allow-oom
-- Prolongs the ownership of a shard's operations, or gives it up.
--
-- KEYS[1] owner
-- ARGV[1] node  ARGV[2] fence  ARGV[3] for how long, milliseconds; 0 gives it up
-- Returns 1, or 0 if somebody else owns it
-- Cost    O(1), three calls of Redis        Clock  the server's (TIME)
-- Retry   safe
local held = redis.call('HMGET', KEYS[1], 'node', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3]))
return 1
