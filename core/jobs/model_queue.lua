-- Which jobs wait for which model. Stands before the scripts that use it.
--
-- KEY.QUEUED, the index 'queued:TENANT' and KEY.WAITING_TENANTS hold the jobs of all models, as
-- earlier versions do. The keys here hold the same jobs by model. A process of an earlier version
-- does not write them: queue_repair.lua mends what it left, from the records themselves.

-- What another version wrote may not be readable here: it counts as absent, as what is not there.
local function decoded(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and type(value) == 'table' and value or {}
end

-- A thousand workers take milliseconds to look at, for which Redis answers nobody else: what is
-- counted of more than a few is kept for a second. `look` answers the counts, and of how many.
local FEW, COUNTS_KEPT_MS = 64, 1000

local function counted_lately(key, look)
  local kept = redis.call('GET', key)
  if kept then return cjson.decode(kept) end
  local counts, looked_at = look()
  if looked_at > FEW then
    redis.pcall('SET', key, cjson.encode(counts), 'PX', COUNTS_KEPT_MS) -- a full Redis refuses it
  end
  return counts
end

local function waiting_key(model, tenant)
  return KEY.WAITING_OF .. tenant .. ':' .. model -- a tenant's name has no colon
end

-- Keeps the tenants that wait for a model in the order in which it last served them.
local function update_model_turn(model, tenant)
  if redis.call('EXISTS', waiting_key(model, tenant)) == 0 then return end
  local served = redis.call('HGET', KEY.LAST_SERVED_OF .. model, tenant) or 0
  redis.call('ZADD', KEY.WAITING_TENANTS_OF .. model, served, tenant)
end

-- A tenant's jobs wait by priority, those of equal priority by id.
local function add_to_model_queue(model, tenant, id, since, priority)
  redis.call('ZADD', KEY.QUEUED_OF .. model, since, id)
  redis.call('ZADD', waiting_key(model, tenant), -(tonumber(priority) or 0), id)
  redis.call('SADD', KEY.QUEUED_MODELS, model)
  update_model_turn(model, tenant)
end

local function remove_from_model_queue(model, tenant, id)
  redis.call('ZREM', KEY.QUEUED_OF .. model, id)
  redis.call('ZREM', waiting_key(model, tenant), id)
  if redis.call('EXISTS', waiting_key(model, tenant)) == 0 then
    redis.call('ZREM', KEY.WAITING_TENANTS_OF .. model, tenant)
  end
  if redis.call('EXISTS', KEY.QUEUED_OF .. model) == 0 then
    redis.call('SREM', KEY.QUEUED_MODELS, model)
  end
end

-- The oldest of those with the highest priority. Entries of jobs that an earlier version's worker has
-- started are dropped on the way.
local function first_waiting(model, tenant)
  local id = redis.call('ZRANGE', waiting_key(model, tenant), 0, 0)[1]
  while id and not redis.call('ZSCORE', KEY.QUEUED, id) do
    remove_from_model_queue(model, tenant, id)
    id = redis.call('ZRANGE', waiting_key(model, tenant), 0, 0)[1]
  end
  return id
end

local function queued_models()
  return redis.call('SMEMBERS', KEY.QUEUED_MODELS)
end
