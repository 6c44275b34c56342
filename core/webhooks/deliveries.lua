-- What webhooks are told: tried until it is delivered, given up or no longer wanted. transition.lua
-- puts it into the outbox in the step in which it happens.
--
-- ARGV: move, and
--   claim:     most, lease in ms. Answers the fields of each delivery that is due, and keeps it from
--              others until the lease has passed: should its sender die, another one tries again.
--   postpone:  delivery, ms. Nothing was tried.
--   settle:    delivery, the try as JSON, state, ms until the next try, where that is 'pending'.
--   redeliver: ttl in s, deliveries. Each is tried anew, at once.

local P = 'panoweave:'
local ATTEMPTS_KEPT = 50

local move = ARGV[1]
local outbox = P .. 'outbox'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

if move == 'claim' then
  local claimed = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    local fields = redis.call('HGETALL', P .. 'delivery:' .. id)
    if #fields == 0 then
      redis.call('ZREM', outbox, id) -- it is as old as a job may become
    else
      redis.call('ZADD', outbox, now + ARGV[3], id)
      claimed[#claimed + 1] = fields
    end
  end
  return claimed
end

if move == 'redeliver' then
  for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then
      redis.call('HSET', P .. 'delivery:' .. id, 'state', 'pending', 'tries', 0)
      redis.call('EXPIRE', P .. 'delivery:' .. id, ARGV[2])
      redis.call('EXPIRE', P .. 'delivery_attempts:' .. id, ARGV[2])
      redis.call('ZADD', outbox, now, id)
    end
  end
  return {}
end

local id = ARGV[2]
local key, attempts_key = P .. 'delivery:' .. id, P .. 'delivery_attempts:' .. id
if redis.call('EXISTS', key) == 0 then return {} end -- deleted meanwhile

if move == 'postpone' then
  redis.call('ZADD', outbox, 'XX', now + ARGV[3], id)
  return {}
end

if move == 'settle' then
  local attempt, state, pause_ms = ARGV[3], ARGV[4], ARGV[5]
  redis.call('HINCRBY', key, 'tries', 1)
  redis.call('RPUSH', attempts_key, attempt)
  redis.call('LTRIM', attempts_key, -ATTEMPTS_KEPT, -1)
  redis.call('EXPIRE', attempts_key, math.max(redis.call('TTL', key), 1))
  -- Another sender may have succeeded, should this one have been given up for dead.
  if redis.call('HGET', key, 'state') == 'delivered' then return {} end
  redis.call('HSET', key, 'state', state)
  if state == 'pending' then
    redis.call('ZADD', outbox, now + pause_ms, id)
  else
    redis.call('ZREM', outbox, id)
  end
  if state == 'gone' then
    -- Nobody wants to know of this job any more.
    local job_id = redis.call('HGET', key, 'job_id')
    if redis.call('EXISTS', P .. 'job:' .. job_id) == 1 then
      redis.call('HSET', P .. 'job:' .. job_id, 'webhook_gone', 1)
    end
    for _, other in ipairs(redis.call('LRANGE', P .. 'deliveries:' .. job_id, 0, -1)) do
      if redis.call('HGET', P .. 'delivery:' .. other, 'state') == 'pending' then
        redis.call('HSET', P .. 'delivery:' .. other, 'state', 'gone')
        redis.call('ZREM', outbox, other)
      end
    end
  end
  return {}
end

return redis.error_reply('unknown move ' .. move)
