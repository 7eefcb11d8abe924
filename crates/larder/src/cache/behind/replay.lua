-- Hands a dead letter in again as the newest operation of its key, unless there is a later one.
--
-- KEYS[1] dead letters  KEYS[2] stream of operations  KEYS[3] last version of each pending key  KEYS[4] the
--         entry's slot  KEYS[5] epoch  KEYS[6] sequence; all with one hash tag
-- ARGV[1] the key's text  ARGV[2] the letter as it was read  ARGV[3] its version  ARGV[4] the slot's bytes
-- Returns 1 handed in; 0 no such letter any more; 2 struck off: a later write has taken its place
-- Cost    O(1), nine calls of Redis        Clock  the server's (TIME)
-- Retry   safe: a repeat finds no letter
local dead, stream, pending, slot = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key = ARGV[1]
if redis.call('HGET', dead, key) ~= ARGV[2] then
  return 0
end
if redis.call('HGET', pending, key) ~= ARGV[3] then
  redis.call('HDEL', dead, key)
  return 2
end
-- As in put.lua: always more than the last one.
local last = 0
if redis.call('EXISTS', stream) == 1 then
  local about = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      last = tonumber(string.match(about[i + 1], '^%d+'))
    end
  end
end
local time = redis.call('TIME')
local version = string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1))
local epoch, seq = unpack(redis.call('MGET', KEYS[5], KEYS[6]))
redis.call('XADD', stream, version .. '-0', 'p', epoch or '', 'n', seq or '0', 'k', key, 'e', ARGV[4])
redis.call('HSET', pending, key, version)
redis.call('SET', slot, ARGV[4])
redis.call('HDEL', dead, key)
return 1
