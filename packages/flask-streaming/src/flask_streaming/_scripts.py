"""What Redis does in one step, in Lua.

Each channel is a stream. An entry's id is the event's number, and its one field holds
``before epoch token kind``, the event's type behind ``=``, and the data, in lines.
``before`` is the number before which the channel had no later event: a reader whose
last number is smaller has missed one. Where the stream is not there, every event is
older than its time to live. Channels that have ended leave their last entry in a key of
its own.

The head, a hash, holds the number of the last event of all channels, the epoch, and the
replication id of the server that this epoch was last seen on. All of it is in one
Redis, so a snapshot or a replica holds a beginning of the order without holes.
"""

#: Keys: head, stream, end. Arguments: epoch to begin where there is none, whether to
#: look for the token, token, kind, type and data, history, seconds, name for Pub/Sub,
#: seconds after the end. Returns the number and the epoch.
PUBLISH = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'head')
local epoch, head = known[1] or ARGV[1], tonumber(known[2] or '0')
if ARGV[2] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-')) do
    local _, _, its, token = string.find(entry[2][2], '^%d+ (%x+) (%S+)')
    if token == ARGV[3] then
      return {string.match(entry[1], '^%d+'), its}
    end
  end
end
local before = math.max(0, now - ARGV[7] * 1000000)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local ended = redis.call('GET', KEYS[3])
if last then
  before = tonumber(string.match(last[1], '^%d+'))
elseif ended then
  before = tonumber(string.match(ended, '^%d+'))
end
local number = string.format('%.0f', math.max(now, head + 1, before + 1))
local value = string.format('%.0f', before)
  .. ' ' .. epoch .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. '\\n' .. ARGV[5]
redis.call('XADD', KEYS[2], 'MAXLEN', math.max(1, ARGV[6]), number .. '-0', 'm', value)
redis.call('HSET', KEYS[1], 'epoch', epoch, 'head', number)
if ARGV[4] == 'end' then
  redis.call('SET', KEYS[3], number .. ' ' .. value, 'EX', ARGV[7])
  redis.call('PEXPIRE', KEYS[2], math.floor(ARGV[9] * 1000))
else
  if ended then redis.call('DEL', KEYS[3]) end
  redis.call('EXPIRE', KEYS[2], ARGV[7] + 120)
end
redis.call('PUBLISH', ARGV[8], number .. ' ' .. value)
return {number, epoch}
"""

#: Keys: head, then stream and end of each channel. Argument: a number, or nothing.
#: Returns epoch, replication id, head, time, and for each channel the entries from the
#: number on, the last entry, and the end.
FETCH = """
local time = redis.call('TIME')
local known = redis.call('HMGET', KEYS[1], 'epoch', 'server', 'head')
local answer = {
  known[1] or '', known[2] or '', known[3] or '0',
  string.format('%.0f', time[1] * 1000000 + time[2])
}
local function flat(entries)
  local lines = {}
  for _, entry in ipairs(entries) do
    lines[#lines + 1] = string.match(entry[1], '^%d+') .. ' ' .. entry[2][2]
  end
  return lines
end
for i = 2, #KEYS, 2 do
  local entries = {}
  if ARGV[1] ~= '' then
    entries = redis.call('XRANGE', KEYS[i], ARGV[1] .. '-0', '+')
  end
  local last = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)
  local ended = redis.call('GET', KEYS[i + 1]) or ''
  answer[#answer + 1] = {flat(entries), flat(last), ended}
end
return answer
"""

#: Key: head. Arguments: replication id of the server, whether it is known to have
#: kept everything, an epoch to begin, and the epoch and number that the caller knows.
#: Begins an epoch where events may have been lost, with numbers above all known ones.
JOIN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'server', 'head')
local head, seen = tonumber(known[3] or '0'), tonumber(ARGV[5])
local epoch = known[1]
local behind = epoch == ARGV[4] and head < seen
local server = known[2] or ''
local other = server ~= '' and server ~= ARGV[1] and ARGV[2] ~= '1'
if not epoch or behind or other then
  epoch = ARGV[3]
  head = math.max(head, now, seen) + 1
elseif head < seen then
  head = seen + 1
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'server', ARGV[1],
  'head', string.format('%.0f', head))
return {epoch, string.format('%.0f', head)}
"""

#: Key: head. Raises the number to the time, so that positions stay fresh while nothing
#: is published, and returns it.
TICK = """
local time = redis.call('TIME')
local head = tonumber(redis.call('HGET', KEYS[1], 'head') or '0')
local number = string.format('%.0f', math.max(head, time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'head', number)
return number
"""
