#!lua flags=allow-oom
-- Takes the next number of a shard's sequence for one invalidation, carries it out, logs it and announces it.
--
-- KEYS[1] sequence  KEYS[2] epoch  KEYS[3] log  KEYS[4] channel  KEYS[5] purge mark or the first slot  KEYS[6..] further
--         slots and the leases beside them; and with ARGV[6] '1', as the last, the notes of what was spared; all with one hash tag
-- ARGV[1] 'U' unlink KEYS[5..], but add a stranger to a block, 'M' set the mark KEYS[5] to the new number, and a tag's to that and another token, 'B' put a writer's token into the block in each slot
--         KEYS[5], [7], … and unlink the lease behind each, 'E' give the values in these slots another header, if they begin as they did
--         when they were read, leave those that have it already, add a stranger to a block, and unlink what is another value by
--         now, and the lease behind each
-- ARGV[2] an epoch for the case that there is none      ARGV[3] the event      ARGV[4] lifetime of what is written,
--         milliseconds, 0 for ever      ARGV[5] how a block begins      ARGV[6] '1' to spare values that are still to be written
--         behind, and to note that: whether the source had them when it got what this is about, nobody can say
-- ARGV[7] with 'B', the writer's token, and ARGV[8] '1' if it should be there already; with 'M' the token, if it is a tag's mark
-- ARGV[7..] with 'E', three for each slot: how it began, how it is to begin, and for how long it is kept then, milliseconds
-- Returns {epoch, number}
-- Cost    O(keys), six calls of Redis, three for each slot and up to two more for one that is blocked, one for each that may be spared,
--         one more for each that is, five for each of 'E'        Clock  none
-- Retry   safe: a repeat takes another number and invalidates again, of a tag with another token; one of 'E' leaves what the first one made
--         stale
local seq_key, epoch_key, log_key, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local mode, fresh_epoch, event, life = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local spares, PENDING, STRANGER = ARGV[6] == '1', string.rep('\255', 8), string.rep('\0', 16)
local notes, last = KEYS[#KEYS], spares and #KEYS - 1 or #KEYS

local epoch = redis.call('GET', epoch_key)
if not epoch or redis.call('EXISTS', seq_key) == 0 then
  -- One of the two was lost, and with it the meaning of all numbers before.
  epoch = fresh_epoch
  redis.call('SET', epoch_key, epoch)
  redis.call('SET', seq_key, 0)
  redis.call('UNLINK', log_key)
end
local seq = string.format('%.0f', redis.call('INCR', seq_key))

-- Whoever settles the value is to know: it goes then.
local function is_spared(slot)
  if not spares or redis.pcall('GETRANGE', slot, 36, 43) ~= PENDING then
    return false
  end
  redis.call('HSET', notes, slot, seq)
  return true
end

-- A write under way ends with an invalidation of its own. But what it wrote may be older than this: it must not stay. Nor may its
-- block go: what is loaded before it is done must not stay either, and if the writer dies nobody else would say so.
local function is_blocked(slot)
  if redis.pcall('GETRANGE', slot, 0, 1) ~= ARGV[5] then
    return false
  end
  local writers = redis.call('GETRANGE', slot, 2, -1)
  if string.sub(writers, 1, 16) ~= STRANGER then
    redis.call('SET', slot, ARGV[5] .. STRANGER .. writers, 'KEEPTTL')
  end
  return true
end

if mode == 'U' then
  for i = 5, last, 2 do
    if not is_blocked(KEYS[i]) and not is_spared(KEYS[i]) then
      redis.call('UNLINK', KEYS[i])
    end
    redis.call('UNLINK', KEYS[i + 1])
  end
elseif mode == 'M' then
  if ARGV[7] then
    redis.call('SET', KEYS[5], seq .. ':' .. ARGV[7], 'PX', life)
  else
    redis.call('SET', KEYS[5], seq)
  end
  if spares then
    -- The mark takes what Redis has. Copies of what is pending may come after it.
    redis.call('HSET', notes, 'purged', seq)
  end
elseif mode == 'E' then
  for i = 5, last, 2 do
    local at = 7 + (i - 5) / 2 * 3
    local began, begins, keep = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local head = #began > 0 and redis.pcall('GETRANGE', KEYS[i], 0, #began - 1)
    if head == began then
      redis.call('SETRANGE', KEYS[i], 0, begins)
      redis.call('PEXPIRE', KEYS[i], keep, 'LT')
    elseif head ~= begins and not is_blocked(KEYS[i]) and not is_spared(KEYS[i]) then
      -- Not what a repeat finds done.
      redis.call('UNLINK', KEYS[i])
    end
    redis.call('UNLINK', KEYS[i + 1])
  end
else
  local token, is_renewed = ARGV[7], ARGV[8] == '1'
  for i = 5, last, 2 do
    if not is_spared(KEYS[i]) then
      local writers = ''
      if redis.pcall('GETRANGE', KEYS[i], 0, 1) == ARGV[5] then
        writers = redis.call('GETRANGE', KEYS[i], 2, -1)
        writers = #writers > 0 and writers or STRANGER
      elseif is_renewed then
        -- The block was lost, and what happened without it is not known.
        writers = STRANGER
      end
      if not string.find(writers, token, 1, true) then
        writers = writers .. token
      end
      redis.call('SET', KEYS[i], ARGV[5] .. writers, 'PX', life)
    end
    redis.call('UNLINK', KEYS[i + 1])
  end
end

redis.call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
redis.call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
return { epoch, seq }
