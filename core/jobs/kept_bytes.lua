-- The bytes of a tenant's records, counted so that no tenant fills Redis. Stands before the scripts
-- that use it.

local function count_kept(tenant, job_id, bytes)
  redis.call('HSET', KEY.KEPT_BYTES_OF .. tenant, job_id, bytes)
  redis.call('HINCRBY', KEY.KEPT_BYTES, tenant, bytes)
end

local function forget_kept(tenant, job_id)
  local bytes = redis.call('HGET', KEY.KEPT_BYTES_OF .. tenant, job_id)
  if not bytes then return end -- of an earlier version
  redis.call('HDEL', KEY.KEPT_BYTES_OF .. tenant, job_id)
  redis.call('HINCRBY', KEY.KEPT_BYTES, tenant, -bytes)
end
