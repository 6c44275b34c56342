-- Estimates when queued jobs start: how many start before each, by the rule of 'claim' in
-- transition.lua if every tenant may run any number at once, and how long those take. Changes
-- nothing.
--
-- ARGV: pairs of tenant and job id. Answers {the place of each, -1 if it is not queued; how long
-- each waits (ms), -1 if unknown; how long each takes (ms), -1 if unknown}.

local EXACT = 100 -- jobs of a tenant that are read one by one; those behind count as their average

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- What another version wrote may not be readable here: it counts as absent.
local function decoded(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and type(value) == 'table' and value or {}
end

-- What a job without an estimate takes: as long as the median of the last ones.
local function usual_ms()
  local times = {}
  for _, text in ipairs(redis.call('LRANGE', KEY.RUN_TIMES, 0, -1)) do
    times[#times + 1] = tonumber(text)
  end
  if #times == 0 then return nil end
  table.sort(times)
  return (times[math.floor((#times + 1) / 2)] + times[math.floor(#times / 2) + 1]) / 2
end
local usual = usual_ms()

local function run_ms(id)
  local estimate_s = tonumber(redis.call('HGET', KEY.JOB .. id, 'estimate_s'))
  return estimate_s and estimate_s * 1000 or usual
end

-- sums[n]: how long the first n jobs of a tenant take together; nil if unknown.
local sums_of = {}
local function first_ms(tenant, count)
  if count <= 0 then return 0 end
  local sums = sums_of[tenant]
  if not sums then
    sums = {[0] = 0}
    for n, id in ipairs(redis.call('ZRANGE', KEY.INDEX .. 'queued:' .. tenant, 0, EXACT - 1)) do
      local ms = run_ms(id)
      if not ms then break end
      sums[n] = sums[n - 1] + ms
    end
    sums_of[tenant] = sums
  end
  local known = math.min(count, EXACT)
  return sums[known] and sums[known] * count / known
end

local rank_of, tenants, waiting = {}, {}, {}
for rank, tenant in ipairs(redis.call('ZRANGE', KEY.WAITING_TENANTS, 0, -1)) do
  rank_of[tenant], tenants[rank] = rank, tenant
  waiting[rank] = redis.call('ZCARD', KEY.INDEX .. 'queued:' .. tenant)
end

-- How many jobs start before it, and how long they take together.
local function before(tenant, id)
  local own_before = redis.call('ZRANK', KEY.INDEX .. 'queued:' .. tenant, id)
  if not own_before then return -1 end
  local place, own_rank, total = own_before, rank_of[tenant], first_ms(tenant, own_before)
  for rank, jobs in ipairs(waiting) do
    if rank ~= own_rank then
      -- Tenants of a lower rank are served once more.
      local count = math.min(jobs, rank < own_rank and own_before + 1 or own_before)
      local taken = first_ms(tenants[rank], count)
      place, total = place + count, total and taken and total + taken
    end
  end
  return place, total
end

local function left_ms(id)
  local raw = redis.call('HMGET', KEY.JOB .. id, 'progress', 'attempt_started_at')
  local progress = raw[1] and decoded(raw[1]) or {}
  if type(progress.eta_s) == 'number' then return progress.eta_s * 1000 end
  local whole = run_ms(id)
  return whole and math.max(0, whole - (now - (tonumber(raw[2]) or now)))
end

local ready = 0
for _, name in ipairs(redis.call('SMEMBERS', KEY.WORKERS)) do
  local state = redis.call('GET', KEY.WORKER .. name)
  if state and decoded(state).state == 'ready' then ready = ready + 1 end
end
local running, left = redis.call('ZRANGE', KEY.LEASES, 0, EXACT - 1), 0
for _, id in ipairs(running) do
  local ms = left_ms(id)
  left = left and ms and left + ms
end

local places, waits, runs = {}, {}, {}
for i = 1, #ARGV, 2 do
  local n, place, total = #places + 1, before(ARGV[i], ARGV[i + 1])
  local wait = -1
  if place >= 0 and place < ready - #running then
    wait = 0
  elseif place >= 0 and ready > 0 and total and left then
    wait = math.floor((left + total) / ready)
  end
  places[n], waits[n], runs[n] = place, wait, math.floor(run_ms(ARGV[i + 1]) or -1)
end
return {places, waits, runs}
