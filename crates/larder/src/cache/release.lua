#!lua flags=allow-oom
-- Gives a lease back without a value, so that nobody waits for a load that failed.
--
-- KEYS[1]  the entry's slot         KEYS[2]  the refresh lease beside it
-- KEYS[3]  the note that somebody waits        KEYS[4]  channel; all with one hash tag
-- ARGV[1]  the lease's bytes        ARGV[2]  what those who wait are told
-- Returns  how many places held it, 0 to 2
-- Cost     O(1), at most six calls of Redis        Clock  none
-- Retry    safe: removing what is gone does nothing
local lease = ARGV[1]
local released = 0
if redis.pcall('GETRANGE', KEYS[1], 0, #lease) == lease then
  released = redis.call('UNLINK', KEYS[1])
end
if redis.pcall('GET', KEYS[2]) == lease then
  released = released + redis.call('UNLINK', KEYS[2])
end
if released > 0 and redis.call('UNLINK', KEYS[3]) == 1 then
  redis.call('SPUBLISH', KEYS[4], ARGV[2])
end
return released
