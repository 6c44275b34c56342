-- How much work there is for one model. Changes no job.
--
-- ARGV: model. Answers {how many jobs are queued, how many run, how long those take together whose
-- time is known (ms), how many have no known time, how many workers hold the model or load it, 1 if a
-- request was refused a while ago because no worker had loaded it}.

local READ = 1000 -- jobs that are read one by one; the others of a tenant count as their average

local model = ARGV[1]

repair_model_queues()

local queue = read_queue(model)
local queued, known_ms, unknown = 0, queue.left, queue.unknown
local of_each = math.max(1, math.floor(READ / math.max(1, #queue.tenants)))
for rank, tenant in ipairs(queue.tenants) do
  local count, ms, without = queue.waiting[rank], 0, 0
  local ids = redis.call('ZRANGE', waiting_key(model, tenant), 0, of_each - 1)
  for _, id in ipairs(ids) do
    local run_ms = queue.run_ms(id)
    if run_ms then ms = ms + run_ms else without = without + 1 end
  end
  queued = queued + count
  known_ms = known_ms + ms * count / #ids
  unknown = unknown + math.ceil(without * count / #ids)
end
return {
  queued, queue.running, math.floor(known_ms), unknown, queue.workers,
  redis.call('EXISTS', KEY.WANTED .. model),
}
