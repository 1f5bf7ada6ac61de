-- Commits one tick: all of it, or nothing.
--
-- KEYS  totals (hash), sources (hash), state (hash), log (stream), ticks (channel),
--       lease (string), states (stream), spellings (hash), names (hash)
-- ARGV  1 the version last seen          2 the commit last seen
--       3 this commit's own name         4 how many milliseconds the log reaches back
--       5 who commits                    6 for how many milliseconds that holds the lease
--       7 the tick as JSON: {at, tick, sources, details, tracked, typed, cursors, increments,
--         past, spellings}; increments is hashtag -> source -> how many, past hashtag ->
--         source -> milliseconds -> how many from then to the end of that minute, spellings
--         hashtag -> spelling -> how many, typed hashtag -> how its owner spells it
-- Answers with the state hash. The caller finds its own commit's name in it when the tick
-- is stored, now or by an earlier try whose answer was lost; otherwise nothing was changed.
-- LEASE as an error: somebody else is the writer now, and nothing was changed.
--
-- Redis does not undo what a script did before it failed, so all is checked first. fields.lua and
-- slots.lua stand before this, in one script with it.

local totals, by_source, state, log, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lease, states, spellings, shown = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local SPELLINGS_KEPT, NAMES_KEPT = 10000, 64

wrong = expect(totals, 'hash') or expect(by_source, 'hash') or expect(state, 'hash')
  or expect(log, 'stream') or expect(lease, 'string') or expect(states, 'stream')
  or expect(spellings, 'hash') or expect(shown, 'hash')
if wrong then return redis.error_reply('FOREIGN ' .. wrong) end

local version = redis.call('HGET', state, 'version') or '0'
local commit = redis.call('HGET', state, 'commit') or ''
if commit == ARGV[3] then return redis.call('HGETALL', state) end

local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[5] then
  return redis.error_reply('LEASE is held by ' .. holder)
end
if version ~= ARGV[1] or commit ~= ARGV[2] then
  return redis.call('HGETALL', state)
end
if version ~= '0' and not string.match(version, '^[1-9]%d*$') then
  return redis.error_reply('FOREIGN the version in ' .. state .. ' is not a whole number')
end

before = tonumber(redis.call('HGET', state, 'second') or '0') or 0
local tick = cjson.decode(ARGV[7])
local typed = tick.typed or {}

-- Up to 16 digits: there is room to go on counting.
local function whole(key, field, value)
  if value and value ~= '0' and not (string.match(value, '^[1-9]%d*$') and #value <= 16) then
    return 'the field ' .. field .. ' of ' .. key .. ' is not a whole number'
  end
end

local split = {}
local stored = redis.call('HGETALL', by_source)
for i = 1, #stored, 2 do
  wrong = wrong or whole(by_source, stored[i], stored[i + 1])
  local tag, source = string.match(stored[i], '^(.*) (.-)$')
  if tag then
    split[tag] = split[tag] or {}
    split[tag][source] = stored[i + 1]
  end
end
for tag in pairs(tick.increments) do changed[tag] = true end
for tag in pairs(tick.past or {}) do changed[tag] = true end
local new_hour = before > 0 and math.floor(before / 3600) ~= math.floor(second / 3600)

local written_as = fetch(shown, tick.tracked)
have = fetch(totals, tick.tracked)
for _, tag in ipairs(tick.tracked) do
  wrong = wrong or whole(totals, tag, have[tag])
  for _, kind in ipairs(KINDS) do
    wrong = wrong or due(kind, tag) and expect(kind.newest .. tag, 'string') or nil
  end
  if new_hour then
    wrong = wrong or expect(name_of(KINDS[1], tag, month_of(before)), 'string')
  end
end

for tag, found in pairs(tick.past or {}) do
  tick.increments[tag] = tick.increments[tag] or {}
  for source, minutes in pairs(found) do
    local number = tick.increments[tag][source] or 0
    for _, posts in pairs(minutes) do number = number + posts end
    tick.increments[tag][source] = number
  end
  raise(tag, found)
end
if wrong then return redis.error_reply('FOREIGN ' .. wrong) end

-- From here on only writes, and only such as cannot fail once the first has not.

redis.call('SET', lease, ARGV[5], 'PX', ARGV[6])
for _, tag in ipairs(new_hour and tick.tracked or {}) do
  if have[tag] then put_last_hour(tag, have[tag]) end
end
write_raised()
local sums, split_sums = {}, {}
for tag, parts in pairs(tick.increments) do
  split[tag] = split[tag] or {}
  for source, posts in pairs(parts) do
    local field = tag .. ' ' .. source
    have[tag] = add(totals, tag, have[tag] or '0', posts)
    split[tag][source] = add(by_source, field, split[tag][source] or '0', posts)
    sums[tag], split_sums[field] = have[tag], split[tag][source]
  end
end
if #tick.tracked > 64 then
  for _, key in ipairs({totals, by_source, spellings, shown}) do make_table(key) end
end
store(totals, sums)
store(by_source, split_sums)

local fields, room = {}, SPELLINGS_KEPT - redis.call('HLEN', spellings)
for tag, written in pairs(tick.spellings or {}) do
  table.insert(fields, tag .. ' ' .. (written_as[tag] or ''))
  for spelling in pairs(written) do table.insert(fields, tag .. ' ' .. spelling) end
end
local often, counted, best = fetch(spellings, fields), {}, {}
for tag, written in pairs(tick.spellings or {}) do
  for spelling, posts in pairs(written) do
    local field = tag .. ' ' .. spelling
    if not often[field] then room = room - 1 end
    if often[field] or room >= 0 then
      often[field] = string.format('%.0f', (tonumber(often[field]) or 0) + posts)
      counted[field] = often[field]
    end
  end
  for spelling in pairs(written) do
    local field, now = tag .. ' ' .. spelling, tag .. ' ' .. (written_as[tag] or '')
    if (tonumber(counted[field]) or 0) > (tonumber(often[now]) or 0) then
      written_as[tag], best[tag] = spelling, spelling
    end
  end
end
store(spellings, counted)
store(shown, best)
for source, cursor in pairs(tick.cursors) do
  redis.call('HSET', state, 'cursor:' .. source, cursor)
end

local names = redis.call('HGET', state, 'recent') or ''
names = (names .. ' ' .. ARGV[3]):sub(-NAMES_KEPT * (#ARGV[3] + 1))
redis.call('HSET', state, 'version', string.format('%.0f', version + 1),
  'commit', ARGV[3], 'recent', names, 'second', second)

-- The JSON is joined by hand because cjson would write a whole number of 15 digits as 1e+14.
local function object(members) return '{' .. table.concat(members, ',') .. '}' end

local function list(members) return '[' .. table.concat(members, ',') .. ']' end

-- Times in order, each to the end of its minute, as [[begin, end], ...] of what is in one piece.
local function spans_of(times)
  local spans = {}
  for _, at in ipairs(times) do
    local last, finish = spans[#spans], (math.floor(at / 60000) + 1) * 60000
    if last and at <= last[2] then last[2] = finish else table.insert(spans, {at, finish}) end
  end
  for n, span in ipairs(spans) do spans[n] = string.format('[%.0f,%.0f]', unpack(span)) end
  return list(spans)
end

-- Posts of the past as [[milliseconds, posts], ...] of each source; the times that they fill,
-- which are no gaps any more for that source; and of these such as no other source counted in.
local past, filled, alone = {}, {}, {}
for tag, found in pairs(tick.past or {}) do
  local by, spans, name = {}, {}, cjson.encode(tag) .. ':'
  for source, minutes in pairs(found) do
    local times, posts, label = {}, {}, cjson.encode(source) .. ':'
    for at in pairs(minutes) do table.insert(times, tonumber(at)) end
    table.sort(times)
    for _, at in ipairs(times) do
      local text = string.format('%.0f', at)
      table.insert(posts, string.format('[%s,%.0f]', text, minutes[text]))
    end
    table.insert(by, label .. list(posts))
    table.insert(spans, label .. spans_of(times))
  end
  for n, slot in ipairs(silent[tag]) do silent[tag][n] = slot * 60000 end
  table.insert(past, name .. object(by))
  table.insert(filled, name .. object(spans))
  table.insert(alone, name .. spans_of(silent[tag]))
end

local described, details = cjson.encode(tick.sources), cjson.encode(tick.details)
if redis.call('HGET', state, 'sources') ~= described or filled[1] then
  redis.call('HSET', state, 'sources', described)
  redis.call('XADD', states, 'MAXLEN', '~', 10000, '*',
    'sources', described, 'details', details, 'filled', object(filled), 'alone', object(alone))
end

-- Each source's name as JSON, made once.
local labels = setmetatable({}, { __index = function(made, source)
  made[source] = cjson.encode(source) .. ':'
  return made[source]
end })

local counts, parts, names_shown = {}, {}, {}
for n, tag in ipairs(tick.tracked) do
  local name, members = cjson.encode(tag) .. ':', {}
  local total, of = have[tag] or '0', split[tag] or {}
  for source in pairs(tick.sources) do of[source] = of[source] or '0' end
  for source, posts in pairs(of) do members[#members + 1] = labels[source] .. posts end
  counts[n], parts[n] = name .. total, name .. object(members)
  names_shown[n] = name .. cjson.encode(written_as[tag] or typed[tag] or tag)
  put(tag, total)
end

local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local json = object({
  '"previous":"' .. (last and last[1] or '') .. '"',
  '"at":' .. string.format('%.0f', tick.at),
  '"tick":' .. cjson.encode(tick.tick),
  '"counts":' .. object(counts),
  '"by_source":' .. object(parts),
  '"names":' .. object(names_shown),
  '"sources":' .. described,
  '"details":' .. details,
  '"past":' .. object(past),
})
local oldest = string.format('%.0f', second * 1000 - ARGV[4])
local id = redis.call('XADD', log, 'MINID', '~', oldest, '*', 'tick', json)
redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. string.sub(json, 2))
return redis.call('HGETALL', state)
