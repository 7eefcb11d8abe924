-- Acknowledges a write that is carried out behind: the value in its slot, without expiry, and the operation in the stream.
-- Destroys the leases of loads under way, takes the next number of the shard's sequence, logs and announces it.
--
-- KEYS[1] sequence  KEYS[2] epoch  KEYS[3] log  KEYS[4] channel  KEYS[5] the entry's slot  KEYS[6] the refresh lease beside
--         it  KEYS[7] stream of operations  KEYS[8] last version of each pending key  KEYS[9] last version of the shard;
--         all with one hash tag
-- ARGV[1] an epoch for the case that there is none  ARGV[2] the event  ARGV[3] the key's text  ARGV[4] the slot's bytes
-- ARGV[5] backlog from which on writers wait  ARGV[6] backlog from which on they are refused
-- Returns {epoch, number, version, 1 if the writer has to wait}, all as text; {} if refused
-- Cost    O(1), twelve calls of Redis        Clock  the server's (TIME)
-- Retry   a repeat appends the operation again, which is harmless unless somebody else wrote in between
local seq_key, epoch_key, log_key, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local slot, lease, stream, pending, last_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local fresh_epoch, event, key, bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local backlog = redis.call('XLEN', stream)
if backlog >= tonumber(ARGV[6]) then
  return {}
end

-- Microseconds, and always more than the last one: versions grow even if the clock is set back or the data are lost.
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', last_key) or 0)
local version = string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1))
-- First what can fail.
redis.call('XADD', stream, version .. '-0', 'k', key, 'e', bytes)
redis.call('SET', last_key, version)
redis.call('HSET', pending, key, version)
redis.call('SET', slot, bytes)
redis.call('UNLINK', lease)

local epoch = redis.call('GET', epoch_key)
if not epoch or redis.call('EXISTS', seq_key) == 0 then
  -- One of the two was lost, and with it the meaning of all numbers before.
  epoch = fresh_epoch
  redis.call('SET', epoch_key, epoch)
  redis.call('SET', seq_key, 0)
  redis.call('UNLINK', log_key)
end
local seq = string.format('%.0f', redis.call('INCR', seq_key))
redis.call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
redis.call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
return { epoch, seq, version, backlog >= tonumber(ARGV[5]) and '1' or '0' }
