#!lua flags=allow-oom
-- Remembers a resume token whose changes are applied. The newest token is replaced while it is young, so that the list
-- reaches back in steps.
--
-- KEYS[1] state  KEYS[2] resume tokens, newest first (same hash tag)
-- ARGV[1] fence  ARGV[2] token  ARGV[3] step, milliseconds  ARGV[4] the most tokens  ARGV[5] lease, milliseconds
-- Returns 1, or 0 if another node leads
-- Cost    O(1), at most six calls of Redis        Clock  the server's (TIME)
-- Retry   safe
local state, tokens = KEYS[1], KEYS[2]
local held = redis.call('HMGET', state, 'fence', 'pushed')
if held[1] ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = string.format('%.0f:', now) .. ARGV[2]
if now - tonumber(held[2] or 0) < tonumber(ARGV[3]) and redis.call('EXISTS', tokens) == 1 then
  redis.call('LSET', tokens, 0, entry)
else
  redis.call('LPUSH', tokens, entry)
  redis.call('LTRIM', tokens, 0, ARGV[4] - 1)
  redis.call('HSET', state, 'pushed', string.format('%.0f', now))
end
redis.call('HSET', state, 'until', string.format('%.0f', now + ARGV[5]))
return 1
