-- One request that a client may send several times: begun once, answered once.
--
-- KEYS: the request's. ARGV: move, and
--   begin:  fingerprint of the request, id for its job, lease in ms, ttl in s
--   finish: answer, ttl in s
--   release, forget: (nothing)
-- 'begin' answers {outcome, text}; outcome: begin (text: the job's id) | answered (text: the
-- answer) | deleted (text: the job's id) | in_flight | mismatch. transition.lua empties the answer
-- of a job that is deleted: it holds the prompt. A request whose process died is begun again once
-- its lease has expired, with the id of the job that it may have made.

local key, move = KEYS[1], ARGV[1]

if move == 'finish' then
  if redis.call('EXISTS', key) == 0 then return {'gone', ''} end
  redis.call('HSET', key, 'answer', ARGV[2])
  redis.call('EXPIRE', key, ARGV[3])
  return {'finished', ''}
end

if move == 'release' then
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'leased_until', 0) end
  return {'released', ''}
end

if move == 'forget' then
  redis.call('DEL', key)
  return {'forgotten', ''}
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local fingerprint, id, lease_ms, ttl_s = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local known = redis.call('HGET', key, 'fingerprint')
if known and known ~= fingerprint then return {'mismatch', ''} end
local answer = redis.call('HGET', key, 'answer')
if answer == '' then
  return {'deleted', redis.call('HGET', key, 'deleted') or redis.call('HGET', key, 'job')}
end
if answer then return {'answered', answer} end
if known and tonumber(redis.call('HGET', key, 'leased_until')) > now then
  return {'in_flight', ''}
end
redis.call('HSET', key, 'fingerprint', fingerprint, 'leased_until', now + lease_ms)
redis.call('HSETNX', key, 'job', id)
redis.call('EXPIRE', key, ttl_s)
local job = redis.call('HGET', key, 'job')
redis.call('SET', KEY.IDEMPOTENCY_OF .. job, key, 'EX', ttl_s)
return {'begin', job}
