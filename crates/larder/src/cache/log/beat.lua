#!lua flags=allow-oom
-- Says what a node has applied of a shard, and until when it may serve its copies. While its word stands, whoever invalidates waits
-- for it. A node whose word had run out was not waited for: it may serve only if it has applied everything that there is.
--
-- KEYS[1] the nodes of the shard; its field 'epoch' says since when the shard's epoch has been known here
-- KEYS[2] sequence  KEYS[3] epoch; all with one hash tag
-- ARGV[1] node  ARGV[2] epoch  ARGV[3] number applied  ARGV[4] for how long, milliseconds
-- Returns 1, or 0 if it has to look again before it serves; the word stands from now on all the same
-- Cost    O(1), five calls of Redis, two more after a silence, one in a new epoch        Clock  the server's (TIME)
-- Retry   safe: the same word twice
local nodes, node, epoch, applied = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, before = unpack(redis.call('HMGET', nodes, 'epoch', node))
if not known or string.match(known, '^%x+') ~= epoch then
  redis.call('HSET', nodes, 'epoch', epoch .. ':' .. string.format('%.0f', now))
end
redis.call('HSET', nodes, node, epoch .. ':' .. applied .. ':' .. string.format('%.0f', now + ARGV[4]))
redis.call('PEXPIRE', nodes, ARGV[4] * 4)
local said, until_ms = string.match(before or '', '^(%x+):%d+:(%d+)$')
if said == epoch and tonumber(until_ms) > now then
  return 1
end
local is_all = redis.call('GET', KEYS[2]) == applied and redis.call('GET', KEYS[3]) == epoch
return is_all and 1 or 0
