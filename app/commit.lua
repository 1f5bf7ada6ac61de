-- Commits one tick: all of it, or nothing.
--
-- KEYS  totals (hash), sources (hash), state (hash), log (stream), ticks (channel)
-- ARGV  1 the version last seen          2 the commit last seen
--       3 this commit's own name         4 how many milliseconds the log reaches back
--       5 the tick as JSON: {at, tick, sources, details, tracked, cursors, increments}
--         increments is hashtag -> source -> how many
-- Answers with the state hash. The caller reads its own commit's name there when the
-- tick is stored, now or by an earlier try whose answer was lost; anything else means
-- that nothing was changed, and what the state is instead.
--
-- Redis does not undo what a script did before it failed, so all is checked first.

local totals, by_source, state, log, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function expect(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'the Redis key ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted
  end
end

local wrong = expect(totals, 'hash') or expect(by_source, 'hash')
  or expect(state, 'hash') or expect(log, 'stream')
if wrong then return redis.error_reply('FOREIGN ' .. wrong) end

local version = redis.call('HGET', state, 'version') or '0'
local commit = redis.call('HGET', state, 'commit') or ''
if version ~= ARGV[1] or commit ~= ARGV[2] then
  return redis.call('HGETALL', state)
end
if not string.match(version, '^%d+$') then
  return redis.error_reply('FOREIGN the version in ' .. state .. ' is not a whole number')
end

local tick = cjson.decode(ARGV[5])

local function whole(key, field)
  local value = redis.call('HGET', key, field)
  if value and not string.match(value, '^%d+$') then
    return 'the field ' .. field .. ' of ' .. key .. ' is not a whole number'
  end
end

for tag, parts in pairs(tick.increments) do
  wrong = whole(totals, tag)
  for source in pairs(parts) do wrong = wrong or whole(by_source, tag .. ' ' .. source) end
  if wrong then return redis.error_reply('FOREIGN ' .. wrong) end
end
for _, tag in ipairs(tick.tracked) do
  wrong = whole(totals, tag)
  if wrong then return redis.error_reply('FOREIGN ' .. wrong) end
end

for tag, parts in pairs(tick.increments) do
  for source, posts in pairs(parts) do
    redis.call('HINCRBY', totals, tag, posts)
    redis.call('HINCRBY', by_source, tag .. ' ' .. source, posts)
  end
end
for source, cursor in pairs(tick.cursors) do
  redis.call('HSET', state, 'cursor:' .. source, cursor)
end
redis.call('HSET', state, 'version', string.format('%.0f', version + 1), 'commit', ARGV[3])

-- The JSON is joined by hand because cjson would write a whole number of 15 digits as 1e+14.
local function object(members) return '{' .. table.concat(members, ',') .. '}' end

local split = {}
local stored = redis.call('HGETALL', by_source)
for i = 1, #stored, 2 do
  local tag, source = string.match(stored[i], '^(.*) (.-)$')
  if tag then
    split[tag] = split[tag] or {}
    split[tag][source] = stored[i + 1]
  end
end
local counts, parts = {}, {}
for _, tag in ipairs(tick.tracked) do
  local name, members = cjson.encode(tag) .. ':', {}
  local of = split[tag] or {}
  for source in pairs(tick.sources) do of[source] = of[source] or '0' end
  for source, posts in pairs(of) do table.insert(members, cjson.encode(source) .. ':' .. posts) end
  table.insert(counts, name .. (redis.call('HGET', totals, tag) or '0'))
  table.insert(parts, name .. object(members))
end

local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local json = object({
  '"previous":"' .. (last and last[1] or '') .. '"',
  '"at":' .. string.format('%.0f', tick.at),
  '"tick":' .. cjson.encode(tick.tick),
  '"counts":' .. object(counts),
  '"by_source":' .. object(parts),
  '"sources":' .. cjson.encode(tick.sources),
  '"details":' .. cjson.encode(tick.details),
})
local oldest = redis.call('TIME')[1] * 1000 - ARGV[4]
local id = redis.call('XADD', log, 'MINID', '~', string.format('%.0f', oldest), '*', 'tick', json)
redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. string.sub(json, 2))
return redis.call('HGETALL', state)
