#!lua flags=allow-oom
-- Throws a dead letter away. If nothing later was written, the key is invalidated: readers see what the sink has.
--
-- KEYS[1] dead letters  KEYS[2] last version of each pending key  KEYS[3] the entry's slot  KEYS[4] the refresh lease beside
--         it  KEYS[5] sequence  KEYS[6] epoch  KEYS[7] log  KEYS[8] channel
-- KEYS[9] notes of what was spared  KEYS[10] stream of operations; all with one hash tag
-- ARGV[1] the key's text  ARGV[2] the letter as it was read  ARGV[3] its version; empty if it is damaged  ARGV[4] an epoch for
--         the case that there is none  ARGV[5] the event
-- Returns 1 done; 0 no such letter any more
-- Cost    O(1), eleven calls of Redis        Clock  none
-- Retry   safe: a repeat finds no letter
local dead, pending, slot, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local seq_key, epoch_key, log_key, channel = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local key, event = ARGV[1], ARGV[5]
if redis.call('HGET', dead, key) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', dead, key)
local last = redis.call('HGET', pending, key)
local version = ARGV[3]
if version == '' and last then
  -- The last version is the letter's unless the operation of that version is still to be carried out.
  local found = redis.pcall('XRANGE', KEYS[10], last .. '-0', last .. '-0')
  version = (found.err or #found == 0) and last or version
end
if last ~= version then
  return 1
end
redis.call('HDEL', pending, key)
redis.call('HDEL', KEYS[9], slot)
redis.call('UNLINK', slot, lease)
local epoch = redis.call('GET', epoch_key)
if not epoch or redis.call('EXISTS', seq_key) == 0 then
  epoch = ARGV[4]
  redis.call('SET', epoch_key, epoch)
  redis.call('SET', seq_key, 0)
  redis.call('UNLINK', log_key)
end
local seq = string.format('%.0f', redis.call('INCR', seq_key))
redis.call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
redis.call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
return 1
