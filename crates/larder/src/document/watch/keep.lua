#!lua flags=allow-oom
-- Prolongs the leadership of a collection's watch, or gives it up.
--
-- KEYS[1] state
-- ARGV[1] fence  ARGV[2] for how long, milliseconds; 0 gives it up  ARGV[3] what stands for the histories of all shards, seen just
--         now; empty if they were not: then the time stays at which they were seen last
-- Returns 1, or 0 if another node leads
-- Cost    O(1), three calls of Redis        Clock  the server's (TIME)
-- Retry   safe
local held = redis.call('HMGET', KEYS[1], 'fence', 'histories')
if held[1] ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[2]))
if held[2] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', now))
end
return 1
