-- Says how many posts this reader may read in all today, as others leave it of the ceiling,
-- and writes down how many it has read, and those that it is about to read.
--
-- KEYS  the day's account (hash: reader -> posts)
-- ARGV  1 the reader  2 how many it has read in all  3 how many more it is about to read
--       4 the ceiling
--
-- Numbers are totals, so that a call may be repeated when its answer was lost.

local mine, others = ARGV[1], 0
local account = redis.call('HGETALL', KEYS[1])
for i = 1, #account, 2 do
  if account[i] ~= mine then others = others + (tonumber(account[i + 1]) or 0) end
end
local read, most = tonumber(ARGV[2]), math.max(0, ARGV[4] - others)
local taken = math.max(read, math.min(read + ARGV[3], most))
redis.call('HSET', KEYS[1], mine, string.format('%.0f', taken))
redis.call('EXPIRE', KEYS[1], 259200)
return most
