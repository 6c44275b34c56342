-- Makes the queues by model agree with the queue of all, KEY.QUEUED. Stands after model_queue.lua and
-- before the scripts that use it.
--
-- Redis answers nobody else while a script runs, so a script compares some hundred jobs only, and
-- says where the next one goes on. Jobs may come and go meanwhile: ZSCAN finds each entry that was
-- there all the time.

local SCAN = 100 -- about how many jobs one ZSCAN finds
local COMPARED_AT_ONCE = 500
local PLACE_KEPT_S = 60
local UNPACKED = 1000 -- Lua passes some thousand arguments at most

-- Of these ids and scores, those whose id the queue does not hold.
local function absent(entries, queue)
  local found = {}
  for first = 1, #entries, 2 * UNPACKED do
    local ids = {}
    for i = first, math.min(#entries, first + 2 * UNPACKED - 1), 2 do ids[#ids + 1] = entries[i] end
    for n, score in ipairs(redis.call('ZMSCORE', queue, unpack(ids))) do
      if not score then
        found[#found + 1] = ids[n]
        found[#found + 1] = entries[first + 2 * n - 1]
      end
    end
  end
  return found
end

-- Drops entries of a model's queue whose jobs wait no longer.
local function drop_stale(model, entries)
  local stale = absent(entries, KEY.QUEUED)
  for i = 1, #stale, 2 do
    local tenants = {redis.call('HGET', KEY.JOB .. stale[i], 'tenant') or nil}
    if #tenants == 0 then -- deleted meanwhile: any may have been its tenant
      tenants = redis.call('ZRANGE', KEY.WAITING_TENANTS_OF .. model, 0, -1)
    end
    for _, tenant in ipairs(tenants) do remove_from_model_queue(model, tenant, stale[i]) end
  end
end

-- Adds waiting jobs that no model's queue has.
local function add_missing(entries)
  for _, model in ipairs(queued_models()) do entries = absent(entries, KEY.QUEUED_OF .. model) end
  for i = 1, #entries, 2 do
    local job = redis.call('HMGET', KEY.JOB .. entries[i], 'model', 'tenant', 'priority')
    if job[1] and job[2] then
      add_to_model_queue(job[1], job[2], entries[i], entries[i + 1], job[3])
    end
  end
end

-- If every waiting job is in a model's queue, and there are as many, then these have no stale ones.
local function is_count_the_same()
  local count = 0
  for _, model in ipairs(queued_models()) do
    count = count + redis.call('ZCARD', KEY.QUEUED_OF .. model)
  end
  return count == redis.call('ZCARD', KEY.QUEUED)
end

-- Goes on with a round: first all waiting jobs, then, if the counts differ, the queues by model.
-- `place` is where: nil to begin, else what the call before answered. Answers nil at the end.
local function compare_queues(place)
  place = place and cjson.decode(place) or {cursor = '0'}
  local compared = 0
  repeat
    local model = place.models and place.models[#place.models]
    local queue = model and KEY.QUEUED_OF .. model or KEY.QUEUED
    local cursor, entries = unpack(redis.call('ZSCAN', queue, place.cursor, 'COUNT', SCAN))
    if model then drop_stale(model, entries) else add_missing(entries) end
    place.cursor, compared = cursor, compared + #entries / 2
    if cursor == '0' then
      if model then
        table.remove(place.models)
      elseif not is_count_the_same() then
        place.models = queued_models()
      end
      if #(place.models or {}) == 0 then return nil end
    end
  until compared >= COMPARED_AT_ONCE
  return cjson.encode(place)
end

-- Costs a few reads if the counts agree. If they do not, each call mends some of it.
local function repair_model_queues()
  if is_count_the_same() then return end
  -- A Redis that refuses writes answers reads: the queues are mended later.
  local was_mended, place = pcall(compare_queues, redis.call('GET', KEY.QUEUE_COMPARISON) or nil)
  if not was_mended then return end
  if place then
    redis.pcall('SET', KEY.QUEUE_COMPARISON, place, 'EX', PLACE_KEPT_S)
  else
    redis.pcall('DEL', KEY.QUEUE_COMPARISON)
  end
end
