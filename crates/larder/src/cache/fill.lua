-- Stores a loaded value, if its lease still stands and nothing it belongs to was purged since its load began.
--
-- KEYS[1] the entry's slot  KEYS[2] the refresh lease beside it  KEYS[3] sequence  KEYS[4] epoch  KEYS[5] mark of the last
-- clear  KEYS[6] mark of the last purge by pattern  KEYS[7] the note that somebody waits  KEYS[8] channel  KEYS[9..] marks of
-- its tags; all with one hash tag
-- ARGV[1] the lease's bytes  ARGV[2] the envelope  ARGV[3] hard expiry, milliseconds  ARGV[4] epoch and ARGV[5] number of
-- the shard when the load began  ARGV[6] lifetime of a tag's mark, milliseconds  ARGV[7] empty; or, if the load found that
-- the value in the slot still stands, how that one begins: then ARGV[2] replaces its header only  ARGV[8] what those who wait
-- are told  ARGV[9..] the token that each tag had then, empty if that is not known
-- Returns 1 stored; 0 refused: the lease expired or an invalidation destroyed it; 2 refused: something was purged; 3 refused:
-- the slot does not begin as ARGV[7] says, and the lease still stands
-- Cost    O(tags), seven calls of Redis, one if somebody waits, and up to two for each tag        Clock  none
-- Retry   safe: a repeat after an unknown outcome finds no lease and is refused; the value stands
local lease, began, renews = ARGV[1], tonumber(ARGV[5]), ARGV[7]
-- A foreign type in the slot answers with an error table, which equals no lease.
local held = redis.pcall('GETRANGE', KEYS[1], 0, #lease)
if held ~= lease then
  if redis.pcall('GET', KEYS[2]) ~= lease then
    return 0
  end
  if redis.pcall('GETRANGE', KEYS[1], 0, 1) == 'L\4' then
    -- Somebody is writing what this was loaded from.
    return 0
  end
  if redis.pcall('GETRANGE', KEYS[1], 36, 43) == string.rep('\255', 8) then
    -- Still to be written behind: newer than anything that was loaded.
    return 0
  end
end
local marks = redis.call('MGET', KEYS[3], KEYS[4], KEYS[5], KEYS[6], unpack(KEYS, 9))
local now = marks[1]
if marks[2] ~= ARGV[4] or not now then
  return 2
end
for i = 3, 4 do
  -- A mark that is gone may have said anything: it counts as made just now. One that is ahead of the sequence is of an
  -- earlier epoch, and so is all that it was about.
  local purged = tonumber(marks[i] or now)
  if purged > began and purged <= tonumber(now) then
    return 2
  end
end
for i = 9, #KEYS do
  local mark, token = marks[i - 4], ARGV[i]
  -- Of a mark that is gone only a node that has applied all there is can say what it was.
  local is_same = mark and string.sub(mark, -17) == ':' .. token or not mark and tonumber(now) == began
  if #token == 0 or not is_same then
    return 2
  end
end
if #renews > 0 and redis.pcall('GETRANGE', KEYS[1], 0, #renews - 1) ~= renews then
  return 3
end
for i = 9, #KEYS do
  if marks[i - 4] then
    redis.call('PEXPIRE', KEYS[i], ARGV[6], 'GT')
  else
    redis.call('SET', KEYS[i], now .. ':' .. ARGV[i], 'PX', ARGV[6])
  end
end
if #renews > 0 then
  redis.call('SETRANGE', KEYS[1], 0, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('UNLINK', KEYS[2])
if redis.call('UNLINK', KEYS[7]) == 1 then
  redis.call('SPUBLISH', KEYS[8], ARGV[8])
end
return 1
