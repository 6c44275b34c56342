-- The jobs of one request that asked for several. Stands before the scripts that use it.

local ENDED = {succeeded = true, failed = true, cancelled = true, expired = true}

local function add_to_batch(batch_id, id)
  redis.call('ZADD', KEY.BATCH .. batch_id, 0, id)
end

local function remove_from_batch(batch_id, id)
  redis.call('ZREM', KEY.BATCH .. batch_id, id)
end

-- Asked of the records themselves: they are few, and a counter could differ from them.
local function has_batch_ended(batch_id)
  for _, id in ipairs(redis.call('ZRANGE', KEY.BATCH .. batch_id, 0, -1)) do
    local status = redis.call('HGET', KEY.JOB .. id, 'status')
    if status and not ENDED[status] then return false end
  end
  return true
end

-- It is kept as long as the record of the job that ended last.
local function end_batch(batch_id, ttl_s)
  redis.call('EXPIRE', KEY.BATCH .. batch_id, ttl_s)
end

-- How often jobs of the batch were retried: it ends once more after each.
local function batch_retries(batch_id)
  local retries = 0
  for _, id in ipairs(redis.call('ZRANGE', KEY.BATCH .. batch_id, 0, -1)) do
    retries = retries + (redis.call('HGET', KEY.JOB .. id, 'retries') or 0)
  end
  return retries
end

local function reopen_batch(batch_id)
  redis.call('PERSIST', KEY.BATCH .. batch_id)
end
