#!lua flags=allow-oom
-- Puts the last operation of a key among the dead letters. Its value stays in the slot: it was acknowledged.
--
-- KEYS[1] owner  KEYS[2] stream of operations  KEYS[3] dead letters  KEYS[4] last version of each pending key; all with one
--         hash tag
-- ARGV[1] node  ARGV[2] fence  ARGV[3] how many dead letters there may be  ARGV[4] the key's text  ARGV[5] the letter
-- ARGV[6] its version  ARGV[7..] the versions of the key's operations that it replaces
-- Returns 1 done; 0 somebody else owns the shard; 2 there are too many dead letters
-- Cost    O(operations), six calls of Redis and one for each operation        Clock  none
-- Retry   safe: the same letter again
local owner, stream, dead, pending = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key = ARGV[4]
local held = redis.call('HMGET', owner, 'node', 'fence', 'steps')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
-- With a later operation in the stream, this one does not matter any more.
if redis.call('HGET', pending, key) == ARGV[6] then
  if redis.call('HLEN', dead) >= tonumber(ARGV[3]) and redis.call('HEXISTS', dead, key) == 0 then
    return 2
  end
  redis.call('HSET', dead, key, ARGV[5])
end
redis.call('HSET', owner, 'steps', string.format('%.0f', tonumber(held[3] or 0) + 1))
for i = 7, #ARGV do
  redis.call('XDEL', stream, ARGV[i] .. '-0')
end
return 1
