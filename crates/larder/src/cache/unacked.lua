#!lua flags=allow-oom
-- How many nodes may still serve copies from before a number. Nodes that have fallen silent are struck off.
--
-- KEYS[1] the nodes of the shard
-- ARGV[1] the node that asks  ARGV[2] epoch  ARGV[3] number
-- Returns the count
-- Cost    O(nodes)        Clock  the server's (TIME)
-- Retry   safe: it only strikes off what has run out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('HGETALL', KEYS[1])
local behind = 0
for i = 1, #nodes, 2 do
  local epoch, applied, until_ms = string.match(nodes[i + 1], '^(%x+):(%d+):(%d+)$')
  if not epoch or tonumber(until_ms) <= now then
    redis.call('HDEL', KEYS[1], nodes[i])
  elseif nodes[i] ~= ARGV[1] and (epoch ~= ARGV[2] or tonumber(applied) < tonumber(ARGV[3])) then
    behind = behind + 1
  end
end
return behind
