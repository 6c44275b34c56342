-- Requests against a limit on requests: a token bucket that fills evenly.
--
-- KEYS: the bucket. ARGV: how many requests it holds, seconds in which it fills, how many to take,
-- "read" or "write".
-- Answers {1 if they may pass, else 0; requests left; ms until as many are left; ms until the bucket
-- is full}.

local most, fills_in_ms, count = tonumber(ARGV[1]), ARGV[2] * 1000, tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, at = tonumber(known[1]) or most, tonumber(known[2]) or now
left = math.min(most, left + math.max(0, now - at) * most / fills_in_ms)
local may_pass = left >= count
if may_pass then left = left - count end
-- A Redis that refuses writes answers reads, which are not counted then.
local write = ARGV[4] == 'read' and redis.pcall or redis.call
write('HSET', KEYS[1], 'left', string.format('%.6f', left), 'at', now)
write('PEXPIRE', KEYS[1], fills_in_ms)
local ms_each = fills_in_ms / most
return {
  may_pass and 1 or 0,
  math.floor(left),
  math.ceil(math.max(0, count - left) * ms_each),
  math.ceil((most - left) * ms_each),
}
