-- Many fields of a hash at once, for commit.lua: a call for each would take most of its time.

-- Many fields at once, in portions that Lua's stack can take; false where there is none.
local function fetch(key, names)
  local found = {}
  for i = 1, #names, 1000 do
    local values = redis.call('HMGET', key, unpack(names, i, math.min(i + 999, #names)))
    for n, value in ipairs(values) do found[names[i + n - 1]] = value end
  end
  return found
end

-- Redis keeps a hash of up to 512 fields as a list and looks through all of it for each; one
-- long field makes a table of it, until Redis reads its file again.
local LONG = ('-'):rep(65)
local function make_table(key)
  redis.call('HSET', key, LONG, '')
  redis.call('HDEL', key, LONG)
end

local function store(key, values)
  local flat, n = {}, 0
  for field, value in pairs(values) do
    flat[n + 1], flat[n + 2], n = field, value, n + 2
    if n == 2000 then
      redis.call('HSET', key, unpack(flat))
      flat, n = {}, 0
    end
  end
  if n > 0 then redis.call('HSET', key, unpack(flat)) end
end

-- Of 16 digits Lua's numbers may not know the last one: those Redis itself adds.
local function add(key, field, value, posts)
  if #value < 16 then return string.format('%.0f', value + posts) end
  redis.call('HINCRBY', key, field, posts)
  return redis.call('HGET', key, field)
end
