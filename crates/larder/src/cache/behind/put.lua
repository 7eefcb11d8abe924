-- Acknowledges a write that is carried out behind: the value in its slot, without expiry, and the operation in the stream.
-- Destroys the leases of loads under way, takes the next number of the shard's sequence, logs and announces it.
--
-- KEYS[1] sequence  KEYS[2] epoch  KEYS[3] log  KEYS[4] channel  KEYS[5] the entry's slot  KEYS[6] the refresh lease beside
--         it  KEYS[7] stream of operations  KEYS[8] last version of each pending key; all with one hash tag
-- ARGV[1] an epoch for the case that there is none  ARGV[2] the event  ARGV[3] the key's text  ARGV[4] the slot's bytes
-- ARGV[5] backlog from which on writers wait  ARGV[6] backlog from which on they are refused
-- Returns {epoch, number, version, 1 if the writer has to wait}, all as text; {} if refused
-- Cost    O(1), ten calls of Redis, two more if the clock was set back        Clock  the server's (TIME)
-- Retry   a repeat appends the operation again, which is harmless unless somebody else wrote in between
local call = redis.call
local seq_key, epoch_key, log_key, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local stream, pending = KEYS[7], KEYS[8]
local event, key, bytes = ARGV[2], ARGV[3], ARGV[4]

local backlog = call('XLEN', stream)
if backlog >= tonumber(ARGV[6]) then
  return {}
end

local epoch, seq = unpack(call('MGET', epoch_key, seq_key))
-- One of the two was lost, and with it the meaning of all numbers before.
local begins = not epoch or not seq
if begins then
  epoch, seq = ARGV[1], 0
end
seq = string.format('%.0f', seq + 1)

-- Microseconds. First what can fail.
local time = call('TIME')
local version = time[1] .. string.format('%06d', time[2])
local added = redis.pcall('XADD', stream, version .. '-0', 'p', epoch, 'n', seq, 'k', key, 'e', bytes)
if type(added) == 'table' then
  -- Versions always grow, and the stream remembers its last one though it be empty: the clock was set back.
  if not string.find(added.err, 'equal or smaller', 1, true) then
    return added
  end
  local about = call('XINFO', 'STREAM', stream)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      version = string.format('%.0f', tonumber(string.match(about[i + 1], '^%d+')) + 1)
    end
  end
  call('XADD', stream, version .. '-0', 'p', epoch, 'n', seq, 'k', key, 'e', bytes)
end
call('HSET', pending, key, version)
call('SET', KEYS[5], bytes)
call('UNLINK', KEYS[6])

if begins then
  call('SET', epoch_key, epoch)
  call('SET', seq_key, 0)
  call('UNLINK', log_key)
end
call('INCR', seq_key)
call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
return { epoch, seq, version, backlog >= tonumber(ARGV[5]) and '1' or '0' }
