-- Takes posts out of a day's budget (KEYS[1]): as many of ARGV[1] as the ceiling ARGV[2] leaves.
-- A negative number gives posts back. Answers with how many were granted.

local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
local granted = math.min(tonumber(ARGV[1]), math.max(0, ARGV[2] - spent))
redis.call('SET', KEYS[1], string.format('%.0f', math.max(0, spent + granted)), 'EX', 259200)
return granted
