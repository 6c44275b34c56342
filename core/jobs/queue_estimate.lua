-- Estimates when queued jobs start: how many jobs of the same model start before each, by the rule
-- of 'claim' in transition.lua if every tenant may run any number at once, and how long those take.
-- Changes no job.
--
-- ARGV: tenant, job id and model of each. Answers {the place of each, -1 if it is not queued; how long
-- each waits (ms), -1 if unknown; how long each takes (ms), -1 if unknown}.

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
  elseif place >= 0 and queue.ready > 0 and total and queue.unknown == 0 then
    wait = math.floor((queue.left + total) / queue.ready)
  end
  places[n], waits[n], runs[n] = place, wait, math.floor(queue.run_ms(id) or -1)
end
return {places, waits, runs}
