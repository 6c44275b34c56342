-- What jobs that wait can expect: how many will be taken before each, by the rule of 'claim' in
-- transition.lua, were all tenants allowed to run any number; and at what pace. Changes nothing.
--
-- ARGV: tenant and job id, again and again. Answers {a number for each, -1: it does not wait; how
-- long the last successful jobs ran, ms; how many workers are ready}.

local P = 'panoweave:'

local turn_of, waiting = {}, {}
for turn, tenant in ipairs(redis.call('ZRANGE', P .. 'turns', 0, -1)) do
  turn_of[tenant] = turn
  waiting[turn] = redis.call('ZCARD', P .. 'index:queued:' .. tenant)
end

local function place_of(tenant, id)
  local own_before = redis.call('ZRANK', P .. 'index:queued:' .. tenant, id)
  if not own_before then return -1 end
  local place, own_turn = own_before, turn_of[tenant]
  for turn, jobs in ipairs(waiting) do
    if turn ~= own_turn then
      -- Those whose turn comes first are served once more.
      place = place + math.min(jobs, turn < own_turn and own_before + 1 or own_before)
    end
  end
  return place
end

local places, ready = {}, 0
for i = 1, #ARGV, 2 do places[#places + 1] = place_of(ARGV[i], ARGV[i + 1]) end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'workers')) do
  local told = redis.call('GET', P .. 'worker:' .. name)
  if told and cjson.decode(told).state == 'ready' then ready = ready + 1 end
end
return {places, redis.call('LRANGE', P .. 'run_times', 0, -1), ready}
