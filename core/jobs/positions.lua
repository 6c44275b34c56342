-- How many jobs will be taken before each of these, by the rule of 'claim' in transition.lua, were
-- all tenants allowed to run any number. Changes nothing.
--
-- ARGV: tenant and job id, again and again. Answers a number for each; -1: it does not wait.

local P = 'panoweave:'

local tenants = redis.call('ZRANGE', P .. 'turns', 0, -1)
local turn_of, waiting = {}, {}
for turn, tenant in ipairs(tenants) do
  turn_of[tenant] = turn
  waiting[turn] = redis.call('ZCARD', P .. 'index:queued:' .. tenant)
end

local places = {}
for i = 1, #ARGV, 2 do
  local tenant, id = ARGV[i], ARGV[i + 1]
  local place = redis.call('ZRANK', P .. 'index:queued:' .. tenant, id) or -1
  if place >= 0 then
    local own_before, own_turn = place, turn_of[tenant]
    for turn, jobs in ipairs(waiting) do
      if turn ~= own_turn then
        -- Those whose turn comes first are served once more.
        place = place + math.min(jobs, turn < own_turn and own_before + 1 or own_before)
      end
    end
  end
  places[#places + 1] = place
end
return places
