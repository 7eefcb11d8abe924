#!lua flags=allow-oom
-- Prolongs a lease while its holder is still loading.
--
-- KEYS[1]  the entry's slot         KEYS[2]  the refresh lease beside it (same hash tag)
-- ARGV[1]  the lease's bytes        ARGV[2]  from now, milliseconds
-- Returns  1 prolonged, 0 lost
-- Cost     O(1), at most four calls of Redis        Clock  none
-- Retry    safe: prolonging twice is prolonging once
local lease = ARGV[1]
for i = 1, 2 do
  if redis.pcall('GETRANGE', KEYS[i], 0, #lease) == lease then
    return redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
end
return 0
