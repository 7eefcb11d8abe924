#!lua flags=allow-oom
-- How many nodes may still serve copies from before a number. Nodes that have fallen silent are struck off. A server that
-- has lost its memory does not know the nodes that had copies; so nobody is believed to be up to date until the epoch has
-- been known here for as long as a node may serve without a word.
--
-- KEYS[1] the nodes of the shard; its field 'epoch' says since when the shard's epoch has been known here
-- ARGV[1] the node that asks  ARGV[2] epoch  ARGV[3] number  ARGV[4] for how long a node may serve, milliseconds
-- Returns the count; one more while the epoch is too young
-- Cost    O(nodes)        Clock  the server's (TIME)
-- Retry   safe: it only strikes off what has run out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('HGETALL', KEYS[1])
local behind, since = 0, nil
for i = 1, #nodes, 2 do
  if nodes[i] == 'epoch' then
    local epoch, known_ms = string.match(nodes[i + 1], '^(%x+):(%d+)$')
    since = epoch == ARGV[2] and tonumber(known_ms)
  else
    local epoch, applied, until_ms = string.match(nodes[i + 1], '^(%x+):(%d+):(%d+)$')
    if not epoch or tonumber(until_ms) <= now then
      redis.call('HDEL', KEYS[1], nodes[i])
    elseif nodes[i] ~= ARGV[1] and (epoch ~= ARGV[2] or tonumber(applied) < tonumber(ARGV[3])) then
      behind = behind + 1
    end
  end
end
if not since then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2] .. ':' .. string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], ARGV[4] * 4)
  since = now
end
if now < since + ARGV[4] then
  behind = behind + 1
end
return behind
