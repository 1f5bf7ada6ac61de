-- Reads the state and a few fields of many hashes, all of one moment.
--
-- KEYS  1 state (hash)  2 states (stream), then a hash for each list of fields
-- ARGV  1 a time in milliseconds since 1970, '' for no entry of states   2 how many entries at most,
--       then for each of those hashes: its fields as MessagePack, one text after the other, no more
--       at once than Lua's stack can take
-- Answers {Redis's clock as of TIME, all of state, the last entry of states up to that time, the
-- first ones after it, then the values of each hash's fields, in their order}. What cannot be read
-- is an error in its place.

-- Redis 7 tells what its user may do; an error of its own would not say which right is missing.
local function lacks(command, ...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, ...) then
    return redis.error_reply("NOPERM the user may not run the '" .. string.lower(command) .. "' command")
  end
end
local denied = lacks('TIME') or lacks('HGETALL', KEYS[1]) or lacks('HMGET', KEYS[1], '')
if ARGV[1] ~= '' then
  denied = denied or lacks('XREVRANGE', KEYS[2], '+', '-') or lacks('XRANGE', KEYS[2], '-', '+')
end
if denied then return denied end

local found = { redis.call('TIME'), redis.pcall('HGETALL', KEYS[1]), {}, {} }
if ARGV[1] ~= '' then
  found[3] = redis.pcall('XREVRANGE', KEYS[2], ARGV[1], '-', 'COUNT', 1)
  found[4] = redis.pcall('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
end
for n = 3, #KEYS do
  found[n + 2] = redis.pcall('HMGET', KEYS[n], cmsgpack.unpack(ARGV[n]))
end
return found
