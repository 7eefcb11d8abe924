#!lua flags=allow-oom
-- Makes a node the leader of a collection's watch, or keeps it so, and tells it from where to go on.
--
-- KEYS[1] state  KEYS[2] resume tokens, newest first (same hash tag)
-- ARGV[1] node  ARGV[2] lease, milliseconds  ARGV[3] what stands for the histories of all shards; empty while one of them is not
--         known: they count as the same until the leader can compare them, and claims again
-- Returns {0, milliseconds} another node leads for so long;
--         {1, fence, '1' if the histories are those of the tokens, when that was last so, tokens}; a token is '<ms>:<bytes>'
-- Cost    O(tokens), at most four calls of Redis        Clock  the server's (TIME)
-- Retry   safe: the leader stays the leader, under the same fence
local state, tokens = KEYS[1], KEYS[2]
local node, lease, histories = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', state, 'node', 'fence', 'until', 'histories', 'seen')
local left = tonumber(held[3] or 0) - now
if held[1] ~= node and left > 0 then
  return { 0, left }
end
local fence = held[2]
if held[1] ~= node then
  -- It grows even if the last one was lost.
  fence = string.format('%.0f', math.max(now, tonumber(held[2] or 0) + 1))
end
redis.call('HSET', state, 'node', node, 'fence', fence, 'until', string.format('%.0f', now + lease))
local is_same = histories == '' or held[4] == histories
return { 1, fence, is_same and '1' or '0', held[5] or '0', redis.call('LRANGE', tokens, 0, -1) }
