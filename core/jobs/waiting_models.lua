-- Answers {model, how many jobs wait for it, how many workers hold it} of each model that jobs
-- wait for. Mends the queues by model first.

repair_model_queues()

local function count_workers()
  local counts, names = {}, redis.call('SMEMBERS', KEY.WORKERS)
  for _, name in ipairs(names) do
    local model = decoded(redis.call('GET', KEY.WORKER .. name)).model
    if model then counts[model] = (counts[model] or 0) + 1 end
  end
  return counts, #names
end

local workers_of = counted_lately(KEY.WORKERS_BY_MODEL, count_workers)
local answer = {}
for i, model in ipairs(queued_models()) do
  answer[i] = {model, redis.call('ZCARD', KEY.QUEUED_OF .. model), workers_of[model] or 0}
end
return answer
