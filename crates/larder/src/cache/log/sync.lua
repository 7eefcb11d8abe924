#!lua flags=allow-oom
-- Tells where a shard stands, and makes what is missing.
--
-- KEYS[1] sequence  KEYS[2] epoch  KEYS[3] log  KEYS[4] the server's history  KEYS[5] mark of the last clear  KEYS[6] mark of
-- the last purge by pattern  KEYS[7..] marks of tags; all with one hash tag
-- ARGV[1] an epoch for the case that a new one is due      ARGV[2] lifetime of a tag's mark, milliseconds
-- ARGV[3] '1' to compare the server's history, after a failover another one, and the log: the last numbers may be lost
-- ARGV[4] a token for tags whose mark is gone
-- Returns {epoch, number, clear, pattern, mark of each tag …}, all as text; a tag's mark is its number ':' its token
-- Cost    O(keys), one call of Redis if nothing is missing, three more after a reconnection        Clock  none
-- Retry   safe: what is there stays
local epoch_key, seq_key, log_key, history_key = KEYS[2], KEYS[1], KEYS[3], KEYS[4]
local found = redis.call('MGET', epoch_key, seq_key, unpack(KEYS, 5))
local other_history = false

-- What a foreign hand has left there is as good as nothing. Redis counts further than Lua, but no shard ever comes so far.
local function is_number(text)
  return text and #text <= 15 and string.match(text, '^%d+$')
end

-- Not `nil`, which would end the list.
for i = 2, 4 do
  found[i] = is_number(found[i]) and found[i] or false
end
for i = 5, #found do
  local number, token = string.match(found[i] or '', '^(%d+):([0-9a-f]+)$')
  found[i] = is_number(number) and #token == 16 and string.find(token, '[^0]') and found[i] or false
end
found[1] = found[1] and #found[1] == 16 and string.match(found[1], '^%x*[1-9a-fA-F]%x*$') and found[1]
if ARGV[3] == '1' then
  local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  local stored = redis.call('GET', history_key)
  if stored ~= history then
    redis.call('SET', history_key, history)
    -- One that is gone may have been any.
    other_history = stored or found[1]
  end
  -- A log that is ahead has numbers which the sequence would give out again.
  if found[2] and #redis.pcall('XRANGE', log_key, '(' .. found[2] .. '-0', '+', 'COUNT', 1) > 0 then
    other_history = true
  end
end
if not found[1] or not found[2] or other_history then
  redis.call('SET', epoch_key, ARGV[1])
  redis.call('SET', seq_key, 0)
  redis.call('UNLINK', log_key)
  found[1], found[2] = ARGV[1], '0'
end
-- A mark that is gone may have said anything: it counts as made just now.
for i = 3, #found do
  if not found[i] and i <= 4 then
    found[i] = found[2]
    redis.call('SET', KEYS[i + 2], found[i])
  elseif not found[i] then
    found[i] = found[2] .. ':' .. ARGV[4]
    redis.call('SET', KEYS[i + 2], found[i], 'PX', ARGV[2])
  elseif tonumber(string.match(found[i], '^%d+')) > tonumber(found[2]) then
    -- It is of an earlier epoch, and so is all that it was about.
    found[i] = string.gsub(found[i], '^%d+', '0')
  end
end
return found
