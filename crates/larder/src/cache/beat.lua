#!lua flags=allow-oom
-- Says what a node has applied of a shard, and until when it may serve its copies.
--
-- KEYS[1] the nodes of the shard; its field 'epoch' says since when the shard's epoch has been known here
-- ARGV[1] node  ARGV[2] epoch  ARGV[3] number applied  ARGV[4] for how long, milliseconds
-- Returns 1
-- Cost    O(1), four calls of Redis, one more in a new epoch        Clock  the server's (TIME)
-- Retry   safe: the same word twice
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = string.format('%.0f', now + ARGV[4])
local known = redis.call('HGET', KEYS[1], 'epoch')
if not known or string.match(known, '^%x+') ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2] .. ':' .. string.format('%.0f', now))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3] .. ':' .. until_ms)
redis.call('PEXPIRE', KEYS[1], ARGV[4] * 4)
return 1
