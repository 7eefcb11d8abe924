#!lua flags=allow-oom
-- Makes a node the owner of a shard's operations, or keeps it so, and gives it the oldest of them, or those from its place on.
--
-- KEYS[1] owner  KEYS[2] stream of operations (same hash tag)
-- ARGV[1] node  ARGV[2] lease, milliseconds  ARGV[3] how many operations at most  ARGV[4] the version to read from; 0 for
--         the oldest  ARGV[5] how many steps the shard's owners had taken when the node was there
-- Returns {0} nothing to do; {1, milliseconds} somebody else owns it for so long; {2, fence, operations, steps, how many operations
--         there are; 0 if read from the place}
-- Cost    O(operations), at most five calls of Redis        Clock  the server's (TIME)
-- Retry   safe: the owner stays the owner, under the same fence
local owner, stream = KEYS[1], KEYS[2]
local node, lease = ARGV[1], tonumber(ARGV[2])
local all = redis.call('XLEN', stream)
if all == 0 then
  return { 0 }
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', owner, 'node', 'fence', 'until', 'steps')
local left = tonumber(held[3] or 0) - now
if held[1] ~= node and left > 0 then
  return { 1, left }
end
local fence = held[2]
if held[1] ~= node then
  -- It grows even if the last one was lost.
  fence = string.format('%.0f', math.max(now, tonumber(held[2] or 0) + 1))
end
local steps = string.format('%.0f', tonumber(held[4] or 0) + 1)
redis.call('HSET', owner, 'node', node, 'fence', fence, 'until', string.format('%.0f', now + lease), 'steps', steps)
local from = '-'
-- Otherwise a step was lost, or somebody else took one: what is before the place is not what the node left there.
if ARGV[4] ~= '0' and held[1] == node and held[4] == ARGV[5] then
  from, all = ARGV[4] .. '-0', 0
end
return { 2, fence, redis.call('XRANGE', stream, from, '+', 'COUNT', ARGV[3]), steps, all }
