-- Writes down where new posts are, and takes away those that are there no more.
--
-- KEYS  1 posts (stream)  2 lease (string)
-- ARGV  1 who writes  2 for how many seconds the key lives  3 the oldest id that is kept
--       4 'anew' where all that is there is to go, else ''  5 how many entries are taken back;
--       then their ids; then the new posts
-- Answers the ids of the new posts, in their order. An entry has one field: `post` is a post,
-- `gone` the ids of entries that were taken back, or * for all that stood before.
-- LEASE as an error: somebody else is the writer now, and nothing was changed.

local posts, lease = KEYS[1], KEYS[2]
local FIRST, AT_ONCE = 6, 500

-- Redis 7 tells what its user may do: so a right that is missing is named before anything is done.
local function lacks(command, ...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, ...) then
    return redis.error_reply("NOPERM the user may not run the '" .. string.lower(command) .. "' command")
  end
end
local denied = lacks('GET', lease) or lacks('XADD', posts, '*', '', '')
  or lacks('XTRIM', posts, 'MAXLEN', 0) or lacks('XDEL', posts, '0') or lacks('EXPIRE', posts, 0)
if denied then return denied end

local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[1] then return redis.error_reply('LEASE is held by ' .. holder) end

if ARGV[4] == 'anew' then
  -- not DEL: ids go on from where they were, by which readers know what is new to them
  redis.call('XTRIM', posts, 'MAXLEN', 0)
  redis.call('XADD', posts, '*', 'gone', '*')
end
redis.call('XTRIM', posts, 'MINID', ARGV[3])
local new = FIRST + tonumber(ARGV[5])
for n = FIRST, new - 1, AT_ONCE do
  local last = math.min(n + AT_ONCE, new) - 1
  redis.call('XDEL', posts, unpack(ARGV, n, last))
  redis.call('XADD', posts, '*', 'gone', table.concat(ARGV, ' ', n, last))
end
local ids = {}
for n = new, #ARGV do ids[#ids + 1] = redis.call('XADD', posts, '*', 'post', ARGV[n]) end
redis.call('EXPIRE', posts, ARGV[2])
return ids
