-- Totals by the minute and by the hour, for commit.lua.
--
-- They are strings of 8-byte numbers, one a slot, named by day and by month. They are no KEYS
-- because there are many, but share the keys' slot of a cluster by {hashtag}. Posts of the
-- past raise the slots from their own to the present one, and such of theirs as had no tick
-- get what the total was before. All of that is worked out before the first write.

local DAY = 86400
local KINDS = {
  { name = 'hours', seconds = 3600, slots = 720, strings = 15, kept = 431 * DAY },
  { name = 'minutes', seconds = 60, slots = 1440, strings = 9, kept = 9 * DAY },
}
local second, wrong, writes = tonumber(redis.call('TIME')[1]), nil, {}
for _, kind in ipairs(KINDS) do
  kind.present = math.floor(second / kind.seconds)
  kind.prefix = '{hashtag}:' .. kind.name .. ':'
  kind.newest = kind.prefix .. math.floor(kind.present / kind.slots) .. ':'
end
local before = 0 -- the second of the commit before this one
local have = {} -- hashtag -> its total before this commit
local changed = {} -- hashtag -> whether its total is another one than before
local silent = {} -- hashtag -> those minutes of the past in which nobody ticked

local function expect(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'the Redis key ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted
  end
end

local function new_minute() return math.floor(before / 60) ~= math.floor(second / 60) end

-- Whether the present slot is to be written: not where it has this total already.
local function due(kind, tag) return new_minute() or kind.seconds == 60 and changed[tag] end

local function month_of(at) return math.floor(at / 3600 / KINDS[1].slots) end

local function name_of(kind, tag, n) return kind.prefix .. n .. ':' .. tag end

local function read(key)
  wrong = wrong or expect(key, 'string')
  return not wrong and redis.call('GET', key) or ''
end

-- A slot holds the total plus one as a double, exact up to 2^53; zero bytes are "no tick".
local function slot_of(string, place)
  local bytes = string:sub(place * 8 + 1, place * 8 + 8)
  local stored = #bytes == 8 and struct.unpack('>d', bytes) or 0
  return stored ~= 0 and stored - 1 or nil
end

-- The total in the last slot before this one that has any.
local function total_before(kind, tag, slot)
  local newest = math.floor(slot / kind.slots)
  for n = newest, newest - kind.strings, -1 do
    local string = read(name_of(kind, tag, n))
    for place = math.min(math.floor(#string / 8), slot - n * kind.slots) - 1, 0, -1 do
      local total = slot_of(string, place)
      if total then return total end
    end
  end
end

-- Work out the slots from the first with posts of the past to the present one; what of them
-- is in one string is one write. posts: slot -> how many; total: the one before the first.
local function work_out(kind, tag, posts, first, total)
  local added, last = 0, kind.present
  for n = math.floor(first / kind.slots), math.floor(last / kind.slots) do
    local key, packed, begin = name_of(kind, tag, n), {}, n * kind.slots
    local string = read(key)
    for slot = math.max(first, begin), math.min(last, begin + kind.slots - 1) do
      local stored = slot_of(string, slot - begin)
      if kind.seconds == 3600 and slot == math.floor(before / 3600) then
        stored = tonumber(have[tag] or nil) or stored -- where it is written may be a minute old
      end
      added, total = added + (posts[slot] or 0), stored or total
      local known = stored or posts[slot]
      if posts[slot] and not stored then table.insert(kind.silent, slot) end
      table.insert(packed, struct.pack('>d', known and total + added + 1 or 0))
    end
    table.insert(writes, {kind, key, math.max(first, begin) - begin, table.concat(packed)})
  end
end

-- Posts of the past, slot by slot; the first slot. Such as cannot be are put as near as can be.
local function by_slot(kind, found)
  local posts, first = {}, kind.present
  local oldest = math.floor((second - 8 * DAY) / kind.seconds)
  for _, minutes in pairs(found) do
    for at, number in pairs(minutes) do
      local slot = math.floor(tonumber(at) / 1000 / kind.seconds)
      slot = math.max(oldest, math.min(kind.present, slot))
      posts[slot], first = (posts[slot] or 0) + number, math.min(first, slot)
    end
  end
  return posts, first
end

-- found: source -> milliseconds -> how many. Where the minutes know no total from before, the
-- hours, which are kept for longer, may.
local function raise(tag, found)
  local total
  for _, kind in ipairs(KINDS) do
    kind.silent = {}
    local posts, first = by_slot(kind, found)
    total = total_before(kind, tag, first) or total or 0
    work_out(kind, tag, posts, first, total)
    silent[tag] = kind.silent
  end
end

local function keep(kind, key, place, packed)
  redis.call('SETRANGE', key, place * 8, packed)
  if new_minute() then redis.call('EXPIRE', key, kind.kept) end
end

local function write_raised()
  for _, write in ipairs(writes) do keep(unpack(write)) end
end

-- The total as it is now. The hour's may be a minute old: when the hour is over, it is put right.
local function put(tag, total)
  local packed = struct.pack('>d', total + 1)
  for _, kind in ipairs(KINDS) do
    if due(kind, tag) then keep(kind, kind.newest .. tag, kind.present % kind.slots, packed) end
  end
end

-- The total at the end of the hour of the last commit.
local function put_last_hour(tag, total)
  local kind, key = KINDS[1], name_of(KINDS[1], tag, month_of(before))
  keep(kind, key, math.floor(before / 3600) % kind.slots, struct.pack('>d', total + 1))
end
