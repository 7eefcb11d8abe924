-- Stores a loaded value, if its lease still stands.
--
-- KEYS[1]  the entry's slot         KEYS[2]  the refresh lease beside it (same hash tag)
-- ARGV[1]  the lease's bytes        ARGV[2]  the envelope        ARGV[3]  hard expiry, milliseconds
-- Returns  1 stored, 0 refused: the lease expired or an invalidation destroyed it
-- Cost     O(1), three calls of Redis        Clock  none
-- Retry    safe: a repeat after an unknown outcome finds no lease and is refused; the value stands
local lease = ARGV[1]
-- A foreign type in the slot answers with an error table, which equals no lease.
local held = redis.pcall('GETRANGE', KEYS[1], 0, #lease)
if held ~= lease and redis.pcall('GET', KEYS[2]) ~= lease then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('UNLINK', KEYS[2])
return 1
