"""What Redis does of one exchange, all of it in one step: take in what a worker says, and tell it what it has missed.

One hash holds the circuits of a namespace. Each field is `noted dies {...}`: when the word arrived, and when nobody
needs it any more, in milliseconds of Redis' own clock, and what was said. Nothing but durations comes in or goes out.
What was noted in the future was noted before the clock was set back: it is noted anew, as if no time had passed.
"""

from __future__ import annotations

MOST = 1000
"""Fields in the hash, as many as a worker keeps: callers choose models. Those that were said longest ago go."""

KEPT_MS = 60_000
"""A circuit that opens again within its series goes on with longer times, so its end is remembered for so long."""

LONGEST_NAME = 200
"""A provider's name has 64 characters at the most, and the hash behind it 32."""

SCRIPT = (
    f"local MOST, KEPT, LONGEST = {MOST}, {KEPT_MS}, {LONGEST_NAME}\n"
    + """\
local GRACE = 50
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local said = cjson.decode(ARGV[1])
local hash, entries, stamps, count = KEYS[1], {}, {}, 0
local PHASES = {closed = true, open = true, half_open = true}

local function left(till)
  return math.max(0, (till or 0) - now)
end

local function written_as(one, noted, dies)
  return string.format('%.0f %.0f %s', noted, dies, cjson.encode(one))
end

local function is_number(value)
  return type(value) == 'number' and value >= 0 and value < 1e15
end

-- Whoever may write here may write anything: what no worker would have said counts as nothing, and nothing holds for
-- longer than a worker would hold it, counted from when it was written.
local function sane(one, noted)
  if type(one) ~= 'table' or (one.phase ~= nil and not PHASES[one.phase]) then
    return nil
  end
  for _, name in ipairs({'at', 'since', 'open', 'cool', 'lease', 'trips', 'silent', 'recovered'}) do
    if one[name] ~= nil and not is_number(one[name]) then
      return nil
    end
  end
  for _, name in ipairs({'by', 'holder'}) do
    if one[name] ~= nil and type(one[name]) ~= 'string' then
      return nil
    end
  end
  for _, name in ipairs({'open', 'cool', 'lease'}) do
    one[name] = one[name] and math.min(one[name], noted + said.most)
  end
  return one
end

local function entry(id)
  local one = entries[id]
  if type(one) == 'string' then
    local sound, value = pcall(cjson.decode, one)
    one = sound and sane(value, stamps[id]) or nil
    entries[id] = one
  end
  return one
end

local flat = redis.call('HGETALL', hash)
for at = 1, #flat, 2 do
  local id, noted, dies, rest = flat[at], string.match(flat[at + 1], '^(%d+) (%d+) (.*)$')
  noted, dies = tonumber(noted), tonumber(dies)
  if not noted or #id > LONGEST or math.min(dies, noted + said.most + KEPT) < now then
    redis.call('HDEL', hash, id)
  else
    entries[id], stamps[id], count = rest, noted, count + 1
    local one = noted > now and entry(id)
    if one then
      for _, stamp in ipairs({'at', 'since', 'open', 'cool', 'lease'}) do
        one[stamp] = one[stamp] and one[stamp] - (noted - now)
      end
      stamps[id] = now
      redis.call('HSET', hash, id, written_as(one, now, dies - (noted - now)))
    end
  end
end

local function leased(one)
  return one.holder and left(one.lease) > 0
end

local function ours(holder)
  return string.sub(holder, 1, #said.worker) == said.worker
end

-- A probe needs the lease of each circuit that is not closed: all of them, or none.
local taken = {}
for _, op in ipairs(said.ops) do
  local one = op.claim and entry(op.id)
  if one then
    local elsewhere = leased(one) and one.holder ~= op.holder
    local open = one.phase == 'open' and left(one.open) > GRACE
    local closed = one.phase == 'closed' and one.since > now - op.since
    if elsewhere or open or closed then
      taken[op.holder] = true
    end
  end
end

local wanted, written, longest = {}, false, 0
for _, op in ipairs(said.ops) do
  local one = entry(op.id) or {}
  local by = (one.by == nil or one.by == said.worker) and said.worker or ''
  local refused = op.claim and taken[op.holder]
  wanted[op.id] = refused
  if op.phase and not refused then
    local at, open = now - op.ago, now + op.left
    if one.at and one.at > at then
      by = ''
    else
      by = said.worker
      if op.phase == 'open' and one.phase == 'open' and left(one.open) > 0 then
        if one.open > open then
          open, by = one.open, ''
        end
        if one.trips > op.trips then
          op.trips, by = one.trips, ''
        end
      end
      one.phase, one.at, one.since, one.open = op.phase, at, now - op.since, open
      one.trips, one.silent, one.recovered = op.trips, op.silent, op.recovered
    end
  end
  if left(one.cool) > op.cool then
    by = ''
  else
    one.cool = now + op.cool
  end
  if one.phase ~= 'half_open' then
    one.holder = nil
  elseif leased(one) and not ours(one.holder) then
    by = ''
  elseif not refused then
    one.holder, one.lease = op.holder, now + op.lease
  end
  if not refused then
    local lasts = math.max(left(one.open), left(one.cool), left(one.lease))
    lasts = lasts + KEPT
    if stamps[op.id] == nil then
      count = count + 1
    end
    one.by, entries[op.id], stamps[op.id], written = by, one, now, true
    longest = math.max(longest, lasts)
    redis.call('HSET', hash, op.id, written_as(one, now, now + lasts))
  end
end

if written then
  if count > MOST then
    local order = {}
    for id in pairs(stamps) do
      order[#order + 1] = id
    end
    table.sort(order, function(a, b) return stamps[a] < stamps[b] end)
    for at = 1, count - MOST do
      redis.call('HDEL', hash, order[at])
    end
  end
  redis.call('PEXPIRE', hash, math.max(longest, redis.call('PTTL', hash)))
end

if count > 0 and redis.call('PTTL', hash) == -1 then
  redis.call('PEXPIRE', hash, said.most + KEPT)
end

local after = said.after
if after > now then
  after = 0
end
local told = {}
for id, noted in pairs(stamps) do
  local one = (wanted[id] or noted >= after) and entry(id)
  if one and (wanted[id] or one.by ~= said.worker) then
    local theirs = leased(one) and not ours(one.holder)
    told[#told + 1] = {
      id, one.phase or '', math.max(0, now - (one.at or now)), math.max(0, now - (one.since or now)),
      left(one.open), one.trips or 0, one.silent or 0, one.recovered or 0,
      left(one.cool), theirs and left(one.lease) or 0
    }
  end
end
local refused = {}
for holder in pairs(taken) do
  refused[#refused + 1] = holder
end
return cjson.encode({now = now, told = told, taken = refused})
"""
)
