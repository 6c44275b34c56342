-- How much work there is for one model. Changes no job.
--
-- ARGV: model. Answers {how many jobs are queued, how many run, how long those take together whose
-- time is known (ms), how many have no known time, how many workers hold the model or load it, 1 if a
-- request was refused a while ago because no worker had loaded it}.

local model = ARGV[1]

repair_model_queues()

local queue = read_queue(model)
local known_ms, unknown = queue.left, queue.unknown
local function add(ms_of_all, without)
  known_ms, unknown = known_ms + ms_of_all, unknown + without
end
if queue.counted then
  for rank, jobs in ipairs(queue.counted.waiting) do
    local ms = queue.counted.mean_ms[rank]
    if ms >= 0 then add(jobs * ms, 0) else add(0, jobs) end
  end
else
  local of_each = math.max(1, math.floor(READ_IN_ALL / math.max(1, #queue.tenants)))
  for rank, tenant in ipairs(queue.tenants) do
    local jobs, ms, without = queue.waiting[rank], 0, 0
    local ids = redis.call('ZRANGE', waiting_key(model, tenant), 0, of_each - 1)
    for _, id in ipairs(ids) do
      local run_ms = queue.run_ms(id)
      if run_ms then ms = ms + run_ms else without = without + 1 end
    end
    add(ms * jobs / #ids, math.ceil(without * jobs / #ids))
  end
end
return {
  redis.call('ZCARD', KEY.QUEUED_OF .. model), queue.running, math.floor(known_ms), unknown, queue.workers,
  redis.call('EXISTS', KEY.WANTED .. model),
}
