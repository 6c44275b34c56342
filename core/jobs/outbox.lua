-- Puts webhook deliveries into the outbox; deliveries.lua has the rest. Stands before the scripts
-- that use it.

-- `owner` is the job, or the batch, whose deliveries are listed together.
local function put_into_outbox(id, owner, tenant, type, url, attempt, now, ttl_s)
  local key, list = KEY.DELIVERY .. id, KEY.DELIVERIES .. owner
  redis.call('HSET', key, 'id', id, 'job_id', owner, 'tenant', tenant, 'type', type, 'url', url,
    'attempt', attempt, 'happened_at', now, 'state', 'pending', 'tries', 0)
  redis.call('RPUSH', list, id)
  redis.call('EXPIRE', key, ttl_s)
  redis.call('EXPIRE', list, ttl_s)
  redis.call('ZADD', KEY.OUTBOX, now, id)
  redis.call('ZADD', KEY.OUTBOX_OF .. tenant, now, id)
  redis.call('ZADD', KEY.OUTBOX_TENANTS, 'NX', 0, tenant)
end
