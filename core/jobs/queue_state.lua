-- What is queued and running of one model, and how long it takes. Stands after queue_repair.lua
-- and before the scripts that use it. Changes no job.

local EXACT = 100 -- jobs of a tenant that are read one by one; those behind count as their average
local READ_IN_ALL = 1000 -- of all tenants, so that an estimate does not take longer with more of them

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- What a job without an estimate takes: as long as the median of the model's last ones.
local function usual_ms(model)
  local times = {}
  for _, text in ipairs(redis.call('LRANGE', KEY.RUN_TIMES_OF .. model, 0, -1)) do
    times[#times + 1] = tonumber(text)
  end
  if #times == 0 then return nil end
  table.sort(times)
  return (times[math.floor((#times + 1) / 2)] + times[math.floor(#times / 2) + 1]) / 2
end

-- The model's workers, and what its running jobs have left.
local function look_at_workers(model, run_ms)
  local found = {ready = 0, workers = 0, running = 0, left = 0, unknown = 0}
  local names, leases = redis.call('SMEMBERS', KEY.WORKERS), redis.call('ZRANGE', KEY.LEASES, 0, -1)
  for _, name in ipairs(names) do
    local state = decoded(redis.call('GET', KEY.WORKER .. name))
    if state.model == model then
      found.workers = found.workers + 1
      if state.state == 'ready' then found.ready = found.ready + 1 end
    end
  end
  for _, id in ipairs(leases) do
    local raw = redis.call('HMGET', KEY.JOB .. id, 'model', 'progress', 'attempt_started_at')
    if raw[1] == model then
      found.running = found.running + 1
      local eta_s, ms = decoded(raw[2]).eta_s
      if type(eta_s) == 'number' then
        ms = eta_s * 1000
      else
        local whole = run_ms(id)
        ms = whole and math.max(0, whole - (now - (tonumber(raw[3]) or now)))
      end
      if ms then found.left = found.left + ms else found.unknown = found.unknown + 1 end
    end
  end
  return found, #names + #leases
end

-- The tenants that wait, each as how many jobs it has and how long one takes on average (ms, -1 if
-- unknown), in the order in which they are served. Of at most READ_IN_ALL tenants jobs are read;
-- the others' take the average of these.
local function count_tenants(model, run_ms)
  local tenants = redis.call('ZRANGE', KEY.WAITING_TENANTS_OF .. model, 0, -1)
  local of_each = math.max(1, math.floor(READ_IN_ALL / #tenants))
  local every = math.ceil(#tenants / READ_IN_ALL)
  local waiting, mean_ms, sum, read = {}, {}, 0, 0
  for rank, tenant in ipairs(tenants) do
    local key = waiting_key(model, tenant)
    waiting[rank] = redis.call('ZCARD', key)
    if rank % every == 0 then
      local ids, ms = redis.call('ZRANGE', key, 0, of_each - 1), 0
      for _, id in ipairs(ids) do
        local each_ms = run_ms(id)
        ms = ms and each_ms and ms + each_ms
      end
      mean_ms[rank] = ms and #ids > 0 and math.floor(ms / #ids) or -1
      if mean_ms[rank] >= 0 then sum, read = sum + mean_ms[rank], read + 1 end
    end
  end
  local usual = read > 0 and math.floor(sum / read) or -1
  for rank = 1, #tenants do mean_ms[rank] = mean_ms[rank] or usual end
  return {waiting = waiting, mean_ms = mean_ms}
end

-- Counting many tenants takes milliseconds too. It is kept for a second, or longer where there are
-- thousands, so that it takes less than a hundredth of Redis's time.
local function tenants_counted_lately(model, count, run_ms)
  local key, ranks = KEY.TENANTS_COUNTED_OF .. model, KEY.TENANTS_RANKED_OF .. model
  local kept = redis.call('GET', key)
  local counts = kept and cmsgpack.unpack(kept)
  if not kept then
    counts = count_tenants(model, run_ms)
    local kept_ms = math.max(COUNTS_KEPT_MS, count)
    -- A full Redis refuses the first; what follows a write is not refused.
    if redis.pcall('SET', key, cmsgpack.pack(counts), 'PX', kept_ms).ok then
      redis.call('COPY', KEY.WAITING_TENANTS_OF .. model, ranks, 'REPLACE')
      redis.call('PEXPIRE', ranks, kept_ms)
    end
  end
  -- The rank (from 1) that a tenant had then; nil if it had nothing waiting.
  function counts.rank_of(tenant)
    local rank = redis.call('ZRANK', kept and ranks or KEY.WAITING_TENANTS_OF .. model, tenant)
    return rank and rank + 1
  end
  return counts
end

-- What the estimates of one model's jobs are made from.
local function read_queue(model)
  local usual = usual_ms(model)
  local queue = {}

  function queue.run_ms(id)
    local estimate_s = tonumber(redis.call('HGET', KEY.JOB .. id, 'estimate_s'))
    return estimate_s and estimate_s * 1000 or usual
  end

  -- sums[n]: how long the first n jobs of a tenant take together; nil if unknown.
  local sums_of = {}
  function queue.first_ms(tenant, count)
    if count <= 0 then return 0 end
    local sums = sums_of[tenant]
    if not sums then
      sums = {[0] = 0}
      for n, id in ipairs(redis.call('ZRANGE', waiting_key(model, tenant), 0, queue.exact - 1)) do
        local ms = queue.run_ms(id)
        if not ms then break end
        sums[n] = sums[n - 1] + ms
      end
      sums_of[tenant] = sums
    end
    local known = math.min(count, queue.exact)
    return sums[known] and sums[known] * count / known
  end

  local count = redis.call('ZCARD', KEY.WAITING_TENANTS_OF .. model)
  if count <= FEW then
    queue.tenants, queue.waiting = redis.call('ZRANGE', KEY.WAITING_TENANTS_OF .. model, 0, -1), {}
    for rank, tenant in ipairs(queue.tenants) do
      queue.waiting[rank] = redis.call('ZCARD', waiting_key(model, tenant))
    end
    queue.exact = math.max(1, math.min(EXACT, math.floor(READ_IN_ALL / math.max(1, count))))
  else
    queue.counted = tenants_counted_lately(model, count, queue.run_ms)
    queue.exact = EXACT
  end

  local workers = counted_lately(KEY.QUEUE_STATE_OF .. model, function()
    return look_at_workers(model, queue.run_ms)
  end)
  for name, value in pairs(workers) do queue[name] = value end
  return queue
end
