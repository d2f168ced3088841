"""The scripts that Redis runs, each in one step.

Each channel is a stream. An entry's id is the event's number, and its one field holds
``before epoch token kind``, the event's type behind ``=``, and the data, in lines.
``before`` is the number before which the channel had no later event: a reader whose
last number is smaller has missed one. Where the stream is not there, every event is
older than its time to live. Channels that have ended leave their last entry in a key of
its own.

The head, a hash, holds the number of the last event of all channels, the epoch, the
number with which the epoch began, and the replication id of the server that it was
last seen on. All of it is in one Redis, so a snapshot or a replica holds a beginning of
the order without holes.

**Every script looks first whether that history still goes on**, in the same step as all
else: Redis changes its replication id when it starts and when it is promoted. Events
may have been lost then, unless a complete append-only file was loaded, and a new epoch
begins, whose numbers are above all that are known. Nothing is ever added to a history
with a hole, nor read from one. A replica, and a Redis that is full, cannot begin an
epoch: what they hold is *unproven*. A user who may not ask (``INFO``) proves nothing,
and is told so in the log.
"""

#: Keys: head first. Arguments: an epoch to begin, whether to ask for the replication
#: id, and the epoch and number that the caller has seen.
HISTORY = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'server', 'since', 'head')
local epoch, server = known[1] or '', known[2] or ''
local since, head = tonumber(known[3] or '0'), tonumber(known[4] or '0')

local function text(number) return string.format('%.0f', number) end

local mine, role, complete = '', 'master', false
local info = ARGV[2] == '1' and redis.pcall('INFO', 'replication')
if type(info) == 'string' then
  role = string.match(info, 'role:(%a+)')
  mine = string.match(info, 'master_replid:(%x+)')
  if mine ~= server and not string.find(info, 'master_replid2:0*[^0%s]') then
    complete = string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1')
  end
end

local proven = epoch ~= '' and not (epoch == ARGV[3] and head < tonumber(ARGV[4]))
local moved = mine ~= '' and mine ~= server
if role ~= 'master' then
  proven = proven and not moved
elseif proven and moved and complete then
  redis.pcall('HSET', KEYS[1], 'server', mine)
elseif moved or not proven then
  local first = math.max(head, now) + 1
  local done = redis.pcall('HSET', KEYS[1], 'epoch', ARGV[1], 'server', mine,
    'since', text(first), 'head', text(first))
  proven = type(done) == 'number'
  if proven then epoch, since, head = ARGV[1], first, first end
end
local refused = ARGV[2] == '1' and mine == ''
"""

#: Keys: head, stream, end. Further arguments: whether to look for the token, token,
#: kind, type and data, history, seconds, name for Pub/Sub, seconds after the end.
#: Returns the number and the epoch.
PUBLISH = (
    HISTORY
    + """
if ARGV[5] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-')) do
    local _, _, its, token = string.find(entry[2][2], '^%d+ (%x+) (%S+)')
    if token == ARGV[6] then
      return {string.match(entry[1], '^%d+'), its}
    end
  end
end
local before = math.max(since, now - ARGV[10] * 1000000)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local ended = redis.call('GET', KEYS[3])
if last then
  before = math.max(since, tonumber(string.match(last[1], '^%d+')))
elseif ended then
  before = math.max(since, tonumber(string.match(ended, '^%d+')))
end
local number = text(math.max(now, head + 1, before + 1))
local value = text(before)
  .. ' ' .. epoch .. ' ' .. ARGV[6] .. ' ' .. ARGV[7] .. '\\n' .. ARGV[8]
redis.call('XADD', KEYS[2], 'MAXLEN', math.max(1, ARGV[9]), number .. '-0', 'm', value)
redis.call('HSET', KEYS[1], 'epoch', epoch, 'head', number)
if ARGV[7] == 'end' then
  redis.call('SET', KEYS[3], number .. ' ' .. value, 'EX', ARGV[10])
  redis.call('PEXPIRE', KEYS[2], math.floor(ARGV[12] * 1000))
else
  if ended then redis.call('DEL', KEYS[3]) end
  redis.call('EXPIRE', KEYS[2], ARGV[10] + 120)
end
redis.call('PUBLISH', ARGV[11], number .. ' ' .. value)
return {number, epoch}
"""
)

#: Keys: head, then stream and end of each channel. Further argument: a number, or
#: nothing. Returns the epoch, the number it began with, the head, the time, whether all
#: this is proven, whether the user may not ask, and for each channel the entries from
#: the number on, the last entry, and the end.
FETCH = (
    HISTORY
    + """
local answer = {
  epoch, text(since), text(head), text(now), proven and 1 or 0, refused and 1 or 0
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
  if ARGV[5] ~= '' then
    local first = text(math.max(since, tonumber(ARGV[5])))
    entries = redis.call('XRANGE', KEYS[i], first .. '-0', '+')
  end
  local last = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)
  local ended = redis.call('GET', KEYS[i + 1]) or ''
  answer[#answer + 1] = {flat(entries), flat(last), ended}
end
return answer
"""
)

#: Key: head. Raises the number to the time, so that positions stay fresh while nothing
#: is published.
TICK = (
    HISTORY
    + """
redis.call('HSET', KEYS[1], 'head', text(math.max(head, now)))
"""
)
