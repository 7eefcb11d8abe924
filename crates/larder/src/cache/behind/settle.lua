#!lua flags=allow-oom
-- Strikes off operations that the sink has carried out. The slot of a key with no later operation becomes an ordinary entry
-- with its ordinary expiry; or it goes, if an invalidation has spared it: what that was about may have followed in the source.
--
-- KEYS[1] owner  KEYS[2] stream of operations  KEYS[3] last version of each pending key  KEYS[4] dead letters
-- KEYS[5] sequence  KEYS[6] epoch  KEYS[7] log  KEYS[8] channel  KEYS[9] notes of what was spared  KEYS[10..] for each key
--         its slot and the refresh lease beside it; all with one hash tag
-- ARGV[1] node  ARGV[2] fence  ARGV[3] an epoch for the case that there is none  ARGV[4] an event that names all these keys
-- ARGV[5] number of keys, then for each: text, version, the epoch in which it was acknowledged and the number that it was given,
--         header for the slot, hard expiry in milliseconds; then the ids of all entries that are done
-- Returns 1, or 0 if somebody else owns the shard: nothing was changed
-- Cost    O(operations), four calls of Redis and up to seven for each key, three more if something is announced        Clock  none
-- Retry   safe: what is struck off already stays so
local owner, stream, pending, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local seq_key, epoch_key, log_key, channel = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local notes, event, count = KEYS[9], ARGV[4], tonumber(ARGV[5])
local PENDING = string.rep('\255', 8)

local held = redis.call('HMGET', owner, 'node', 'fence', 'steps')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', owner, 'steps', string.format('%.0f', tonumber(held[3] or 0) + 1))

local is_told, epoch, now = false, unpack(redis.call('MGET', epoch_key, seq_key))
local purged = tonumber(redis.call('HGET', notes, 'purged') or 0)
if purged > tonumber(now or 0) then
  -- One that is ahead of the sequence is of an earlier epoch.
  purged = 0
end
for i = 0, count - 1 do
  local key, version, acked_in, acked_at, header, expiry = unpack(ARGV, 6 + i * 6, 11 + i * 6)
  local slot, lease = KEYS[10 + i * 2], KEYS[11 + i * 2]
  local last = redis.call('HGET', pending, key)
  if not last or last == version then
    redis.call('HDEL', pending, key)
    redis.call('HDEL', dead, key)
    local was_spared = redis.call('HDEL', notes, slot) == 1
    if last and not was_spared and acked_in == epoch and redis.pcall('GETRANGE', slot, 36, 43) == PENDING then
      redis.call('SETRANGE', slot, 0, header)
      redis.call('PEXPIRE', slot, expiry)
      -- A load that was leased while this was pending may have asked the sink's system before it had this.
      redis.call('UNLINK', lease)
      -- What stands in the slot says whether a purge takes it. But copies may have been made after the purge.
      is_told = is_told or purged > tonumber(acked_at)
    else
      -- The acknowledged value was destroyed by somebody who knew nothing of it, and what was loaded since may be older. Or Redis
      -- has lost something since, perhaps later operations of the key, which the sink has. Or it was spared.
      redis.call('UNLINK', slot, lease)
      is_told = true
    end
  end
end
for i = 6 + count * 6, #ARGV do
  redis.call('XDEL', stream, ARGV[i])
end

if is_told then
  if not epoch or not now then
    epoch = ARGV[3]
    redis.call('SET', epoch_key, epoch)
    redis.call('SET', seq_key, 0)
    redis.call('UNLINK', log_key)
  end
  local seq = string.format('%.0f', redis.call('INCR', seq_key))
  redis.call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
  redis.call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
end
return 1
