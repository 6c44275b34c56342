-- Answers {model, how many jobs wait for it, how many workers hold it} of each model that jobs
-- wait for. Mends the queues by model first. ARGV[1]: 1 to compare them job by job.

-- As in queue_state.lua.
local FEW, KEPT_MS = 64, 1000

repair_model_queues(ARGV[1] == '1')

-- Workers by model; of many workers as they were within the last second.
local function count_workers()
  local kept = redis.call('GET', KEY.WORKERS_BY_MODEL)
  if kept then return cjson.decode(kept) end
  local counts, names = {}, redis.call('SMEMBERS', KEY.WORKERS)
  for _, name in ipairs(names) do
    local model = decoded(redis.call('GET', KEY.WORKER .. name)).model
    if model then counts[model] = (counts[model] or 0) + 1 end
  end
  if #names > FEW then
    redis.call('SET', KEY.WORKERS_BY_MODEL, cjson.encode(counts), 'PX', KEPT_MS)
  end
  return counts
end

local workers_of = count_workers()
local answer = {}
for i, model in ipairs(queued_models()) do
  answer[i] = {model, redis.call('ZCARD', KEY.QUEUED_OF .. model), workers_of[model] or 0}
end
return answer
