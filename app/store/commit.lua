-- Commits one tick: all of it, or nothing. All that is written has been worked out by the
-- ingester; this only compares, writes, appends and publishes.
--
-- KEYS  1 state (hash)  2 log (stream)  3 lease (string)  4 states (stream), then the keys of
--       the writes, in their order
-- ARGV  1 the version last seen        2 the commit last seen     3 this commit's own name
--       4 who commits                  5 for how many milliseconds that holds the lease
--       6 the channel                  7 the tick, as JSON that begins with {
--       8 the oldest id that the log keeps, or '' to begin the log anew   9 how many entries
--       10 fields of state, names and values in turns   11 the same of an entry of states; empty
--       for nothing to tell  12 people of hashtags, a part of the tick's JSON; then for each
--       write: its kind, when the key is forgotten (seconds since 1970, 0 for never), and texts.
--       10, 11 and texts are MessagePack, one text after the other, no more at once than Lua's
--       stack can take: a thousand arguments cost twice as much, and so does a table of them.
--       Kinds are: hash (names and values in turns), forget (names), set (members), string (one
--       value), drop (nothing), authors (who are added to a HyperLogLog), count (what it counts
--       then goes into a hash: its key, which lives as long, a name in it, and what stands before
--       the number among the tick's people, or '' where it is not told)
-- Answers {version, commit, milliseconds of Redis's clock, id of the tick} of what is stored
-- now. The caller finds its own commit's name in it when the tick is stored, now or by an
-- earlier try whose answer was lost; otherwise nothing was changed.
-- LEASE as an error: somebody else is the writer now. FOREIGN: a key is not ours. NOPERM: a right
-- is missing. ERR: no reader would take so long a tick. Nothing was changed then either: Redis does
-- not undo what a script did, so all is looked at first.

local state, log, lease, states = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local LONGEST = 2 * 2^20 - 1024 -- what readers take (connection.py), less what stands before it
local FIRST = 13 -- where the writes begin in ARGV; their keys begin at 5
local TYPES = { hash = 'hash', forget = 'hash', set = 'set', string = 'string', authors = 'string', count = 'string' }
local COMMANDS = { hash = 'HSET', forget = 'HDEL', set = 'SADD', string = 'SET', drop = 'UNLINK' }

local function now()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

local function is_other(key, wanted)
  local found = redis.call('TYPE', key).ok
  if wanted and found ~= 'none' and found ~= wanted then
    return redis.error_reply(
      'FOREIGN the Redis key ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted)
  end
end

local foreign = is_other(state, 'hash') or is_other(log, 'stream') or is_other(lease, 'string')
  or is_other(states, 'stream')
for n = 5, #KEYS do
  foreign = foreign or is_other(KEYS[n], TYPES[ARGV[FIRST + 3 * (n - 5)]])
end
if foreign then return foreign end

-- Redis 7 tells what its user may do; in Redis 6.2 a right that is missing is noticed too late.
local function lacks(command, ...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, ...) then
    return redis.error_reply("NOPERM the user may not run the '" .. string.lower(command) .. "' command")
  end
end
local denied = lacks('TIME') or lacks('HMGET', state, '') or lacks('GET', lease)
  or lacks('SET', lease, '') or lacks('HSET', state, '', '') or lacks('HDEL', state, '')
  or lacks('SADD', state, '') or lacks('UNLINK', state) or lacks('EXPIREAT', state, 0)
  or lacks('DEL', log) or lacks('XADD', log, '*', '', '') or lacks('XTRIM', log, 'MAXLEN', 0)
  or lacks('HGET', state, '') or lacks('XRANGE', states, '-', '+')
  or lacks('PFADD', state, '') or lacks('PFCOUNT', state)
if denied then return denied end
if lacks('PUBLISH', ARGV[6], '') then
  return redis.error_reply('NOPERM the user may not publish to the channel ' .. ARGV[6])
end

local size = #ARGV[7] + #ARGV[12]
for n = 5, #KEYS do
  local place = FIRST + 3 * (n - 5)
  if ARGV[place] == 'count' then size = size + #ARGV[place + 2] end
end
if size > LONGEST then
  return redis.error_reply('ERR the tick of ' .. size .. ' bytes is longer than readers take')
end

local stored = redis.call('HMGET', state, 'version', 'commit', 'tick')
local version, commit, last = stored[1] or '', stored[2] or '', stored[3] or ''
if not string.match(last, '^%d+%-%d+$') then last = '' end
if commit == ARGV[3] then return { version, commit, now(), last } end
local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[4] then return redis.error_reply('LEASE is held by ' .. holder) end
if version ~= ARGV[1] or commit ~= ARGV[2] then return { version, commit, now(), last } end

-- From here on only writes, and only such as cannot fail once the first has not. Where Redis 6.2
-- lacks a right all the same, totals come after log and state: a commit that has some of them is
-- found to be stored by the next try, and nothing is counted twice.

redis.call('SET', lease, ARGV[4], 'PX', ARGV[5])

if ARGV[8] == '' then
  redis.call('DEL', log)
  last = ''
  -- what is dated by a clock that was ahead would make all that follows be of its future, too
  local moment = now()
  if #redis.call('XRANGE', states, '(' .. moment, '+', 'COUNT', 1) > 0 then
    local kept = redis.call('XRANGE', states, '-', moment)
    redis.call('DEL', states)
    for _, entry in ipairs(kept) do redis.call('XADD', states, entry[1], unpack(entry[2])) end
  end
end
-- To add authors once more changes nothing, so they may come before the tick that counts them.
-- What is no HyperLogLog of ours is told of as nothing.
local told = {}
if ARGV[12] ~= '' then told[1] = ARGV[12] end
for n = 5, #KEYS do
  local key, place = KEYS[n], FIRST + 3 * (n - 5)
  if ARGV[place] == 'authors' then
    redis.pcall('PFADD', key, cmsgpack.unpack(ARGV[place + 2]))
    redis.pcall('EXPIREAT', key, ARGV[place + 1])
  elseif ARGV[place] == 'count' then
    local hash, name, text = cmsgpack.unpack(ARGV[place + 2])
    local people = redis.pcall('PFCOUNT', key)
    if type(people) == 'number' then
      redis.call('HSET', hash, name, string.format('+%010d', people))
      redis.call('EXPIREAT', hash, ARGV[place + 1])
      if text ~= '' then told[#told + 1] = text .. people end
    end
  end
end
local before = '"previous":"' .. last .. '",'
if #told > 0 then before = before .. '"people":{' .. table.concat(told, ',') .. '},' end
local rest = string.sub(ARGV[7], 2)
if ARGV[8] ~= '' then
  redis.call('XTRIM', log, 'MINID', '~', ARGV[8])
  redis.call('XTRIM', log, 'MAXLEN', '~', ARGV[9])
end
local id = redis.call('XADD', log, '*', 'tick', '{' .. before .. rest)
redis.call('HSET', state, cmsgpack.unpack(ARGV[10]))
redis.call('HSET', state, 'commit', ARGV[3], 'tick', id)
for n = 5, #KEYS do
  local key, place = KEYS[n], FIRST + 3 * (n - 5)
  local command = COMMANDS[ARGV[place]]
  if command then
    redis.call(command, key, cmsgpack.unpack(ARGV[place + 2]))
    if ARGV[place + 1] ~= '0' then redis.call('EXPIREAT', key, ARGV[place + 1]) end
  end
end
if ARGV[11] ~= '' then
  redis.call('XADD', states, 'MAXLEN', '~', 10000, '*', cmsgpack.unpack(ARGV[11]))
end
redis.call('PUBLISH', ARGV[6], '{"id":"' .. id .. '",' .. before .. rest)
return { redis.call('HGET', state, 'version'), ARGV[3], now(), id }
