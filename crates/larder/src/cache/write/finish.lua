-- Ends a guarded write, or several: takes the next number of the shard's sequence for the invalidation, takes the writers'
-- tokens out of the blocks of their keys, and leaves the written value in the first slot, if there is one to leave and the block
-- was this writer's alone all the time: nobody else wrote the key meanwhile, nobody invalidated it, and nothing it belongs to was
-- purged.
--
-- KEYS[1] sequence  KEYS[2] epoch  KEYS[3] log  KEYS[4] channel  KEYS[5] mark of the last clear  KEYS[6] mark of the last purge
-- by pattern  KEYS[7..] slots, each with the refresh lease beside it, then the marks of the value's tags, and with ARGV[5] '1' the
-- notes of what was spared; all with one hash tag
-- ARGV[1] an epoch for the case that there is none  ARGV[2] the event  ARGV[3] how a block begins  ARGV[4] the writer's token,
-- or those of several  ARGV[5] '1' to spare values that are still to be written behind, and to note that  ARGV[6] number of slots
-- ARGV[7] the envelope, or empty  ARGV[8] hard expiry, milliseconds  ARGV[9] epoch and ARGV[10] number that the block was given
-- ARGV[11] lifetime of a tag's mark, milliseconds  ARGV[12..] the token that each tag had then, empty if that is not known
-- Returns {epoch, number, '1' if the value was left, else '0'}
-- Cost    O(keys + tags), seven calls of Redis, four for each slot and one for each tag        Clock  none
-- Retry   safe: a repeat takes another number, finds no block of its own, and destroys what the first one left
local seq_key, epoch_key, log_key, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fresh_epoch, event, mark, tokens = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local spares, slots, envelope = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7]
local STRANGER = string.rep('\0', 16)
local notes, last = KEYS[#KEYS], spares and #KEYS - 1 or #KEYS

-- Takes the tokens out of a block; true if it was the writer's alone. What else stands there goes.
local function leave(slot)
  if redis.pcall('GETRANGE', slot, 0, 1) ~= mark then
    if spares and redis.pcall('GETRANGE', slot, 36, 43) == string.rep('\255', 8) then
      -- The source may have had it before this write. Whoever settles it is to know: it goes then.
      redis.call('HSET', notes, slot, '1')
    else
      redis.call('UNLINK', slot)
    end
    return false
  end
  local writers = redis.call('GETRANGE', slot, 2, -1)
  if writers == tokens then
    redis.call('UNLINK', slot)
    return true
  end
  local others = writers
  for i = 1, #tokens, 16 do
    local at = string.find(others, string.sub(tokens, i, i + 15), 1, true)
    if at then
      others = string.sub(others, 1, at - 1) .. string.sub(others, at + 16)
    end
  end
  if others ~= writers and (others == STRANGER or others == '') then
    redis.call('UNLINK', slot)
  else
    -- Whose write came last in the database nobody knows, least of all if this writer's block was lost and others began
    -- without seeing it: none of them may leave its value.
    if string.sub(others, 1, 16) ~= STRANGER then
      others = STRANGER .. others
    end
    redis.call('SET', slot, mark .. others, 'KEEPTTL')
  end
  return false
end

local was_alone = false
for i = 1, slots do
  local alone = leave(KEYS[5 + i * 2])
  was_alone = was_alone or (i == 1 and alone)
  redis.call('UNLINK', KEYS[6 + i * 2])
end

local epoch, now = unpack(redis.call('MGET', epoch_key, seq_key))
if was_alone and #envelope > 0 and epoch == ARGV[9] and now then
  local names = { KEYS[5], KEYS[6], unpack(KEYS, 7 + slots * 2, last) }
  local marks, began = redis.call('MGET', unpack(names)), tonumber(ARGV[10])
  for i = 1, 2 do
    -- A mark that is gone may have said anything: it counts as made just now. One that is ahead of the sequence is of an
    -- earlier epoch.
    local purged = tonumber(marks[i] or now)
    was_alone = was_alone and (purged <= began or purged > tonumber(now))
  end
  for i = 3, #names do
    local stands, token = marks[i], ARGV[9 + i]
    -- Of a mark that is gone only a node that has applied all there is can say what it was.
    local is_same = stands and string.sub(stands, -17) == ':' .. token or not stands and tonumber(now) == began
    was_alone = was_alone and #token > 0 and is_same
  end
  if was_alone then
    for i = 3, #names do
      if marks[i] then
        redis.call('PEXPIRE', names[i], ARGV[11], 'GT')
      else
        redis.call('SET', names[i], now .. ':' .. ARGV[9 + i], 'PX', ARGV[11])
      end
    end
    redis.call('SET', KEYS[7], envelope, 'PX', ARGV[8])
  end
else
  was_alone = false
end

if not epoch or not now then
  -- One of the two was lost, and with it the meaning of all numbers before.
  epoch = fresh_epoch
  redis.call('SET', epoch_key, epoch)
  redis.call('SET', seq_key, 0)
  redis.call('UNLINK', log_key)
end
local seq = string.format('%.0f', redis.call('INCR', seq_key))
redis.call('XADD', log_key, 'MAXLEN', '~', 10000, seq .. '-0', 'e', event)
redis.call('SPUBLISH', channel, epoch .. ':' .. seq .. ':' .. event)
return { epoch, seq, was_alone and '1' or '0' }
