-- Estimates when queued jobs start: how many jobs of the same model start before each, by the rule
-- of 'claim' in transition.lua if every tenant may run any number at once, and how long those take.
-- Changes no job.
--
-- ARGV: tenant, job id and model of each. Answers {the place of each, -1 if it is not queued; how long
-- each waits (ms), -1 if unknown; how long each takes (ms), -1 if unknown}.

local EXACT = 100 -- jobs of a tenant that are read one by one; those behind count as their average

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

-- What the estimates of one model's jobs are made from.
local function read_queue(model)
  local usual = usual_ms(model)
  local queue = {rank_of = {}, tenants = {}, waiting = {}}

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
      for n, id in ipairs(redis.call('ZRANGE', waiting_key(model, tenant), 0, EXACT - 1)) do
        local ms = queue.run_ms(id)
        if not ms then break end
        sums[n] = sums[n - 1] + ms
      end
      sums_of[tenant] = sums
    end
    local known = math.min(count, EXACT)
    return sums[known] and sums[known] * count / known
  end

  for rank, tenant in ipairs(redis.call('ZRANGE', KEY.WAITING_TENANTS_OF .. model, 0, -1)) do
    queue.rank_of[tenant], queue.tenants[rank] = rank, tenant
    queue.waiting[rank] = redis.call('ZCARD', waiting_key(model, tenant))
  end

  queue.ready = 0
  for _, name in ipairs(redis.call('SMEMBERS', KEY.WORKERS)) do
    local state = decoded(redis.call('GET', KEY.WORKER .. name))
    if state.model == model and state.state == 'ready' then
      queue.ready = queue.ready + 1
    end
  end

  queue.running, queue.left = 0, 0
  for _, id in ipairs(redis.call('ZRANGE', KEY.LEASES, 0, -1)) do
    local raw = redis.call('HMGET', KEY.JOB .. id, 'model', 'progress', 'attempt_started_at')
    if raw[1] == model then
      queue.running = queue.running + 1
      local eta_s, ms = decoded(raw[2]).eta_s
      if type(eta_s) == 'number' then
        ms = eta_s * 1000
      else
        local whole = queue.run_ms(id)
        ms = whole and math.max(0, whole - (now - (tonumber(raw[3]) or now)))
      end
      queue.left = queue.left and ms and queue.left + ms
    end
  end
  return queue
end

-- How many jobs start before it, and how long they take together.
local function before(queue, model, tenant, id)
  local own_before = redis.call('ZRANK', waiting_key(model, tenant), id)
  if not own_before then return -1 end
  local place, own_rank = own_before, queue.rank_of[tenant]
  local total = queue.first_ms(tenant, own_before)
  for rank, jobs in ipairs(queue.waiting) do
    if rank ~= own_rank then
      -- Tenants of a lower rank are served once more.
      local count = math.min(jobs, rank < own_rank and own_before + 1 or own_before)
      local taken = queue.first_ms(queue.tenants[rank], count)
      place, total = place + count, total and taken and total + taken
    end
  end
  return place, total
end

repair_model_queues()

local queues, places, waits, runs = {}, {}, {}, {}
for i = 1, #ARGV, 3 do
  local tenant, id, model = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  queues[model] = queues[model] or read_queue(model)
  local queue = queues[model]
  local n, place, total = #places + 1, before(queue, model, tenant, id)
  local wait = -1
  if place >= 0 and place < queue.ready - queue.running then
    wait = 0
  elseif place >= 0 and queue.ready > 0 and total and queue.left then
    wait = math.floor((queue.left + total) / queue.ready)
  end
  places[n], waits[n], runs[n] = place, wait, math.floor(queue.run_ms(id) or -1)
end
return {places, waits, runs}
