-- Estimates the places of queued jobs: how many jobs will start before each, by the rule of 'claim'
-- in transition.lua, if every tenant may run any number at once. Changes nothing.
--
-- ARGV: pairs of tenant and job id. Answers {the place of each, -1 if it is not queued; how long the
-- last successful jobs ran, ms; how many workers are ready}.


local rank_of, waiting = {}, {}
for rank, tenant in ipairs(redis.call('ZRANGE', KEY.WAITING_TENANTS, 0, -1)) do
  rank_of[tenant] = rank
  waiting[rank] = redis.call('ZCARD', KEY.INDEX .. 'queued:' .. tenant)
end

local function place_of(tenant, id)
  local own_before = redis.call('ZRANK', KEY.INDEX .. 'queued:' .. tenant, id)
  if not own_before then return -1 end
  local place, own_rank = own_before, rank_of[tenant]
  for rank, jobs in ipairs(waiting) do
    if rank ~= own_rank then
      -- Tenants of a lower rank are served once more.
      place = place + math.min(jobs, rank < own_rank and own_before + 1 or own_before)
    end
  end
  return place
end

local places, ready = {}, 0
for i = 1, #ARGV, 2 do places[#places + 1] = place_of(ARGV[i], ARGV[i + 1]) end
for _, name in ipairs(redis.call('SMEMBERS', KEY.WORKERS)) do
  local state = redis.call('GET', KEY.WORKER .. name)
  if state and cjson.decode(state).state == 'ready' then ready = ready + 1 end
end
return {places, redis.call('LRANGE', KEY.RUN_TIMES, 0, -1), ready}
