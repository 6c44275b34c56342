-- Webhook deliveries: tried until they are delivered, given up or no longer wanted. transition.lua
-- puts each into the outbox in the same step as its event.
--
-- ARGV: move, and
--   claim:     most, lease in ms. Answers the fields of each delivery that is due. No other sender gets
--              it until the lease has expired: if its sender dies, another one tries again.
--   postpone:  delivery, ms. Nothing was tried.
--   settle:    delivery, the try as JSON, state, ms until the next try, where that is 'pending'.
--   redeliver: ttl in s, deliveries. Each is tried anew, at once.

local ATTEMPTS_KEPT = 50

local move = ARGV[1]
local outbox = KEY.OUTBOX
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

if move == 'claim' then
  local claimed = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    local fields = redis.call('HGETALL', KEY.DELIVERY .. id)
    if #fields == 0 then
      redis.call('ZREM', outbox, id) -- it has expired
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
    if redis.call('EXISTS', KEY.DELIVERY .. id) == 1 then
      redis.call('HSET', KEY.DELIVERY .. id, 'state', 'pending', 'tries', 0)
      redis.call('EXPIRE', KEY.DELIVERY .. id, ARGV[2])
      redis.call('EXPIRE', KEY.DELIVERY_ATTEMPTS .. id, ARGV[2])
      redis.call('ZADD', outbox, now, id)
    end
  end
  return {}
end

local id = ARGV[2]
local key, attempts_key = KEY.DELIVERY .. id, KEY.DELIVERY_ATTEMPTS .. id
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
  -- Another sender may have delivered it after this one's lease expired.
  if redis.call('HGET', key, 'state') == 'delivered' then return {} end
  redis.call('HSET', key, 'state', state)
  if state == 'pending' then
    redis.call('ZADD', outbox, now + pause_ms, id)
  else
    redis.call('ZREM', outbox, id)
  end
  if state == 'gone' then
    -- The receiver wants no more events of this job.
    local job_id = redis.call('HGET', key, 'job_id')
    if redis.call('EXISTS', KEY.JOB .. job_id) == 1 then
      redis.call('HSET', KEY.JOB .. job_id, 'webhook_gone', 1)
    end
    for _, other in ipairs(redis.call('LRANGE', KEY.DELIVERIES .. job_id, 0, -1)) do
      if redis.call('HGET', KEY.DELIVERY .. other, 'state') == 'pending' then
        redis.call('HSET', KEY.DELIVERY .. other, 'state', 'gone')
        redis.call('ZREM', outbox, other)
      end
    end
  end
  return {}
end

return redis.error_reply('unknown move ' .. move)
