-- Commits one tick: all of it, or nothing. All that is written has been worked out by the
-- ingester; this only compares, writes, appends and publishes.
--
-- KEYS  1 state (hash)  2 log (stream)  3 lease (string)  4 states (stream), then the keys of
--       the writes, in their order
-- ARGV  1 the version last seen        2 the commit last seen     3 this commit's own name
--       4 who commits                  5 for how many milliseconds that holds the lease
--       6 the channel                  7 the tick, as JSON that begins with {
--       8 the oldest id that the log keeps, or '' to begin the log anew   9 how many entries
--       then, for the fields of state, for an entry of states (none: nothing to tell), and for
--       each write: its kind, when the key is forgotten (seconds since 1970, 0 for never), how
--       many values, and these. Kinds are: hash (name, value, ...), forget (name, ...),
--       set (member, ...), string (value), drop (nothing)
-- Answers {version, commit, milliseconds of Redis's clock, id of the tick} of what is stored
-- now. The caller finds its own commit's name in it when the tick is stored, now or by an
-- earlier try whose answer was lost; otherwise nothing was changed.
-- LEASE as an error: somebody else is the writer now. FOREIGN: a key is not ours. Nothing was
-- changed then either: Redis does not undo what a script did, so all is looked at first.

local state, log, lease, states = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local TYPES = { hash = 'hash', forget = 'hash', set = 'set', string = 'string' }

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

local writes, place = {}, 10
while ARGV[place] do
  local first = place + 3
  local write = { kind = ARGV[place], ends = ARGV[place + 1], first = first }
  place = first + ARGV[place + 2]
  write.last = place - 1
  table.insert(writes, write)
end
local to_state, to_states = table.remove(writes, 1), table.remove(writes, 1)

local foreign = is_other(state, 'hash') or is_other(log, 'stream') or is_other(lease, 'string')
  or is_other(states, 'stream')
for n, write in ipairs(writes) do foreign = foreign or is_other(KEYS[4 + n], TYPES[write.kind]) end
if foreign then return foreign end

local stored = redis.call('HMGET', state, 'version', 'commit', 'tick')
local version, commit, last = stored[1] or '', stored[2] or '', stored[3] or ''
if not string.match(last, '^%d+%-%d+$') then last = '' end
if commit == ARGV[3] then return { version, commit, now(), last } end
local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[4] then return redis.error_reply('LEASE is held by ' .. holder) end
if version ~= ARGV[1] or commit ~= ARGV[2] then return { version, commit, now(), last } end

-- From here on only writes, and only such as cannot fail once the first has not.

redis.call('SET', lease, ARGV[4], 'PX', ARGV[5])

-- Many at once, in portions that Lua's stack can take; of even length, for names and values.
local function call(command, key, write)
  for n = write.first, write.last, 2000 do
    redis.call(command, key, unpack(ARGV, n, math.min(n + 1999, write.last)))
  end
end

local COMMANDS = { hash = 'HSET', forget = 'HDEL', set = 'SADD', string = 'SET' }
for n, write in ipairs(writes) do
  local key = KEYS[4 + n]
  if write.kind == 'drop' then redis.call('UNLINK', key) else call(COMMANDS[write.kind], key, write) end
  if write.ends ~= '0' then redis.call('EXPIREAT', key, write.ends) end
end

if ARGV[8] == '' then
  redis.call('DEL', log)
  last = ''
end
local tick = '"previous":"' .. last .. '",' .. string.sub(ARGV[7], 2)
local id = redis.call('XADD', log, '*', 'tick', '{' .. tick)
if ARGV[8] ~= '' then
  redis.call('XTRIM', log, 'MINID', '~', ARGV[8])
  redis.call('XTRIM', log, 'MAXLEN', '~', ARGV[9])
end
call('HSET', state, to_state)
redis.call('HSET', state, 'commit', ARGV[3], 'tick', id)
if to_states.last >= to_states.first then
  redis.call('XADD', states, 'MAXLEN', '~', 10000, '*', unpack(ARGV, to_states.first, to_states.last))
end
redis.call('PUBLISH', ARGV[6], '{"id":"' .. id .. '",' .. tick)
return { redis.call('HGET', state, 'version'), ARGV[3], now(), id }
