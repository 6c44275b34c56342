-- Estimates when queued jobs start: how many jobs of the same model start before each, by the rule
-- of 'claim' in transition.lua if every tenant may run any number at once, and how long those take.
-- Changes no job.
--
-- ARGV: tenant, job id and model of each. Answers {the place of each, -1 if it is not queued; how long
-- each waits (ms), -1 if unknown; how long each takes (ms), -1 if unknown}.

-- Of few tenants, all is read.
local function add_each_tenant(queue, _, own_rank, own_before)
  local place, total = 0, 0
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

-- Tenants with equally many jobs, together: by their jobs, how many tenants, and how long one job of
-- each takes, added up. Of those counted, the ones in places first to last of a ring that begins
-- with rank `start`.
local function group(counted, start, first, last)
  local groups = {}
  for place = first, last do
    local rank = (start + place - 2) % #counted.waiting + 1
    local jobs, ms = counted.waiting[rank], counted.mean_ms[rank]
    local found = groups[jobs]
    if not found then
      found = {tenants = 0, ms = 0}
      groups[jobs] = found
    end
    found.tenants = found.tenants + 1
    found.ms = found.ms and ms >= 0 and found.ms + ms
  end
  return groups
end

-- How many jobs that are of `each` tenant at most, and how long they take; nil if unknown.
local function add_groups(groups, each)
  local place, total = 0, 0
  if each == 0 then return place, total end
  for jobs, found in pairs(groups) do
    local count = math.min(jobs, each)
    place = place + count * found.tenants
    total = total and found.ms and total + count * found.ms
  end
  return place, total
end

-- Of many tenants, what was counted a while ago. The first job of a tenant has as many before it as
-- there are tenants of a lower rank, so its place is that of this moment.
--
-- Whoever is served goes to the end. So the tenants stand in a ring, in which a tenant that was counted
-- keeps its place: all others come after it, and those that are before it now are the last of them.
local function add_counted(queue, tenant, own_rank, own_before)
  local counted = queue.counted
  if queue.grouped_for ~= tenant then
    queue.grouped_for = tenant
    local count, rank = #counted.waiting, counted.rank_of(tenant)
    local others = rank and count - 1 or count
    local start = rank and rank + 1 or math.min(own_rank, count + 1)
    local behind = others - math.min(own_rank - 1, others)
    queue.before = group(counted, start, behind + 1, others)
    queue.group_behind = function() return group(counted, start, 1, behind) end
    queue.behind = nil
  end
  local place, total = add_groups(queue.before, own_before + 1)
  if own_before == 0 then return own_rank - 1, total end
  queue.behind = queue.behind or queue.group_behind()
  local more, takes = add_groups(queue.behind, own_before)
  return math.max(place, own_rank - 1) + more, total and takes and total + takes
end

-- How many jobs start before it, and how long they take together.
local function before(queue, model, tenant, id)
  local own_before = redis.call('ZRANK', waiting_key(model, tenant), id)
  if not own_before then return -1 end
  local own_rank = redis.call('ZRANK', KEY.WAITING_TENANTS_OF .. model, tenant) + 1
  local add_others = queue.counted and add_counted or add_each_tenant
  local place, total = add_others(queue, tenant, own_rank, own_before)
  local own_ms = queue.first_ms(tenant, own_before)
  return place + own_before, total and own_ms and total + own_ms
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
