#!lua flags=allow-oom
-- Begins anew: behind an older token, whose successors are struck off, or at a point of its own.
--
-- KEYS[1] state  KEYS[2] resume tokens, newest first (same hash tag)
-- ARGV[1] fence  ARGV[2] how many of the newest tokens are struck off; -1 for all  ARGV[3] token of the new point, or empty
-- ARGV[4] what stands for the histories of all shards
-- Returns 1, or 0 if another node leads
-- Cost    O(tokens), at most six calls of Redis        Clock  the server's (TIME)
-- Retry   not by itself: it would strike off twice. The leader claims again and decides by what it finds
local state, tokens = KEYS[1], KEYS[2]
if redis.call('HGET', state, 'fence') ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[2] == '-1' then
  redis.call('UNLINK', tokens)
else
  redis.call('LTRIM', tokens, ARGV[2], -1)
end
if ARGV[3] ~= '' then
  redis.call('LPUSH', tokens, now .. ':' .. ARGV[3])
end
-- The next token gets a place of its own: the one that was found old enough stays.
redis.call('HSET', state, 'histories', ARGV[4], 'seen', now, 'pushed', 0)
return 1
