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

local function store(key, values)
  local flat = {}
  for field, value in pairs(values) do
    table.insert(flat, field)
    table.insert(flat, value)
    if #flat == 1000 then
      redis.call('HSET', key, unpack(flat))
      flat = {}
    end
  end
  if flat[1] then redis.call('HSET', key, unpack(flat)) end
end

-- Of 16 digits Lua's numbers may not know the last one: those Redis itself adds.
local function add(key, field, value, posts)
  if #value < 16 then return string.format('%.0f', value + posts) end
  redis.call('HINCRBY', key, field, posts)
  return redis.call('HGET', key, field)
end
