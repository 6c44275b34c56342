-- Answers {model, how many jobs wait for it, how many workers hold it} of each model that jobs
-- wait for. Mends the queues by model first. ARGV[1]: 1 to compare them job by job.

repair_model_queues(ARGV[1] == '1')

local workers_of = {}
for _, name in ipairs(redis.call('SMEMBERS', KEY.WORKERS)) do
  local model = decoded(redis.call('GET', KEY.WORKER .. name)).model
  if model then workers_of[model] = (workers_of[model] or 0) + 1 end
end

local answer = {}
for i, model in ipairs(queued_models()) do
  answer[i] = {model, redis.call('ZCARD', KEY.QUEUED_OF .. model), workers_of[model] or 0}
end
return answer
