-- Creates, moves or touches one job. The only writer of a job's status, and in the same step of
-- its indexes, its lease, its events and its webhook deliveries: no reader sees one without the
-- others.
--
-- Every move may be repeated after a lost reply: what has already happened answers 'unchanged'.
-- Times are Redis's own, so that workers' clocks do not matter. Keys are built from the job, so
-- Redis Cluster is not supported (neither is it by RQ).
--
-- ARGV: move, job id, token, payload (stored as it comes), lease in ms, ttl of a terminal job in s,
--       how many attempts may lose their worker. For 'create' the records follow, of one tenant and
--       model: of each the id, how many texts its fields and values are, and these. All are
--       created, or none.
--       For 'create' and 'retry' the payload is 'most jobs queued, most of this tenant, most bytes
--       of its records, tenant'.
--       'claim' has no job id: it starts the next job that waits for a model. ARGV[8] is then how
--       many jobs of a tenant may run at once, 0 for any number; ARGV[9] is the model.
-- Answers {outcome, flat fields}, or those of each record for 'create'; outcome: moved | unchanged |
-- missing | illegal | stale | full | tenant_full | tenant_bytes | none.

local function create(new)
  choose(new.id)
  -- The first write of the step: a full Redis refuses only a script's first write.
  redis.call('HSET', job_key, unpack(ARGV, new.first, new.last))
  load_job()
  redis.call('ZREM', KEY.ORPHANS, KEY.ORPHANS_BEGUN .. ':' .. id .. ':0:' .. job.tenant)
  set('created_at', now)
  if job.start_within_s then
    set('start_by', now + job.start_within_s * 1000)
    redis.call('ZADD', KEY.START_DEADLINES, job.start_by, id)
  end
  count_kept(job.tenant, id, new.bytes)
  redis.call('ZADD', index('all'), 0, id)
  if job.batch_id then add_to_batch(job.batch_id, id) end
  enter('queued')
  append_event('created', '{}')
end

if move == 'create' then
  local all, known, bytes, model, i = {}, {}, 0, '', 8
  while i <= #ARGV do
    local new = {id = ARGV[i], first = i + 2, last = i + 1 + ARGV[i + 1], bytes = 0}
    for n = new.first, new.last, 2 do
      new.bytes = new.bytes + #ARGV[n] + #ARGV[n + 1]
      if ARGV[n] == 'model' then model = ARGV[n + 1] end
    end
    local fields = redis.call('HGETALL', KEY.JOB .. new.id)
    if #fields > 0 then known[#known + 1] = fields end
    all[#all + 1], bytes, i = new, bytes + new.bytes, new.last + 1
  end
  if #known > 0 then return {'unchanged', known} end
  local full = full_queue(model, #all, bytes)
  if full then return {full, {}} end
  local created = {}
  for n, new in ipairs(all) do
    create(new)
    created[n] = redis.call('HGETALL', job_key)
  end
  return {'moved', created}
end

local CLAIM_REMEMBERED_S = 60 -- longer than a client repeats a command whose reply was lost

local TENANTS_READ = 50 -- the first is nearly always the one

-- The first job of the tenant that the model has served longest ago, or never, among those with
-- fewer than `most` running.
local function next_job(most, model)
  local key, at_limit = KEY.WAITING_TENANTS_OF .. model, 0
  repeat
    local tenants = redis.call('ZRANGE', key, at_limit, at_limit + TENANTS_READ - 1)
    for _, tenant in ipairs(tenants) do
      if most > 0 and redis.call('ZCARD', KEY.INDEX .. 'running:' .. tenant) >= most then
        at_limit = at_limit + 1
      else
        local found = first_waiting(model, tenant)
        if found then return found end
        redis.call('ZREM', key, tenant)
      end
    end
  until #tenants == 0
end

if move == 'claim' then
  local claim_key = KEY.CLAIM .. token
  id = redis.call('GET', claim_key)
  if not id then
    repair_model_queues()
    repeat
      id = next_job(tonumber(ARGV[8]), ARGV[9])
      if not id then return {'none', {}} end
      choose(id)
      load_job()
      local is_late = is_overdue()
      if is_late then finish('expired', '{}') end
    until not is_late
  end
  redis.call('SET', claim_key, id, 'EX', CLAIM_REMEMBERED_S)
  move = 'start'
end

if not job then -- a claim has it already
  choose(id)
  load_job()
end
if not job.status then return {'missing', {}} end

if move == 'miss_start' then
  if not is_overdue() then return answer('unchanged') end
  return finish('expired', '{}')
end

if move == 'start' then
  if job.status == 'running' and job.token == token then return answer('unchanged') end
  if job.status ~= 'queued' then return answer('illegal') end
  set('token', token)
  set('worker', payload)
  set('attempts', job.attempts + 1)
  set('attempt_started_at', now)
  redis.call('HDEL', job_key, 'progress')
  if not job.started_at then set('started_at', now) end
  enter('running')
  append_event('started', '{}')
  return answer('moved')
end

if move == 'request_cancel' then
  if job.status == 'queued' then return finish('cancelled', '{}') end
  if job.status ~= 'running' or job.cancel_requested == '1' then return answer('unchanged') end
  set('cancel_requested', 1)
  append_event('cancel_requested', '{}')
  return answer('moved')
end

if move == 'retry' then
  if job.status == 'queued' or job.status == 'running' then return answer('unchanged') end
  if job.status ~= 'failed' then return answer('illegal') end
  local full = full_queue(job.model, 1, 0)
  if full then return {full, {}} end
  set('run_ms_at_retry', job.run_ms or 0)
  redis.call('ZREM', KEY.EXPIRY, job.status .. ':' .. id .. ':' .. job.tenant)
  redis.call('ZREM', KEY.ORPHANS, orphans(KEY.ORPHANS_ALL)) -- it is not to be deleted yet
  redis.call('PERSIST', job_key)
  redis.call('PERSIST', events_key)
  if job.batch_id then reopen_batch(job.batch_id) end
  redis.call('HDEL', job_key, 'error', 'finished_at', 'progress')
  set('losses', 0)
  set('retries', (job.retries or 0) + 1)
  enter('queued')
  append_event('retried', '{}')
  return answer('moved')
end

if move == 'delete' then
  if not TERMINAL[job.status] then return answer('illegal') end
  redis.call('ZREM', index('all'), id)
  redis.call('ZREM', index(job.status), id)
  forget_kept(job.tenant, id)
  redis.call('ZREM', KEY.EXPIRY, job.status .. ':' .. id .. ':' .. job.tenant)
  local last = answer('moved')
  for _, delivery in ipairs(redis.call('LRANGE', KEY.DELIVERIES .. id, 0, -1)) do
    redis.call('ZREM', KEY.OUTBOX, delivery)
    redis.call('ZREM', KEY.OUTBOX_OF .. job.tenant, delivery)
    redis.call('DEL', KEY.DELIVERY .. delivery, KEY.DELIVERY_ATTEMPTS .. delivery)
  end
  if job.batch_id then remove_from_batch(job.batch_id, id) end
  local request_key = redis.call('GET', KEY.IDEMPOTENCY_OF .. first_of_request())
  if request_key and redis.call('EXISTS', request_key) == 1 then
    redis.call('HSET', request_key, 'answer', '', 'deleted', id) -- it held the prompt
  end
  redis.call('DEL', job_key, events_key, KEY.DELIVERIES .. id, KEY.SAVEPOINT .. id)
  clean_up(KEY.ORPHANS_ALL, now + 2 * lease_ms)
  redis.call('PUBLISH', KEY.WAKES, id)
  return last
end

if move == 'expire' then
  local deadline = redis.call('ZSCORE', KEY.LEASES, id)
  if job.status ~= 'running' or job.token ~= token or tonumber(deadline) > now then
    return answer('unchanged')
  end
  return lose()
end

-- From here on the caller must hold the running attempt.
local asked_to_cancel = job.cancel_requested == '1'
local REPEATED = { -- statuses that show a move was already made
  succeed = {succeeded = true, cancelled = asked_to_cancel},
  fail = {failed = true},
  cancelled = {cancelled = true},
  requeue = {queued = true, cancelled = asked_to_cancel},
}
local holds = job.token == token

if job.status ~= 'running' or not holds then
  if not holds or not REPEATED[move] then return answer('stale') end
  if REPEATED[move][job.status] then return answer('unchanged') end
  return answer(TERMINAL[job.status] and 'illegal' or 'stale')
end

if move == 'heartbeat' or move == 'report' then
  redis.call('ZADD', KEY.LEASES, now + lease_ms, id)
  if move == 'report' then
    set('progress', payload)
    append_event('progress', payload)
  end
  return {'moved', {'cancel_requested', job.cancel_requested}}
end

if move == 'succeed' then
  -- The cancel was acknowledged before: it wins, although the picture was made.
  if asked_to_cancel then return finish('cancelled', '{}') end
  set('result', payload)
  count_usage('panoramas', 1)
  count_usage('bytes', cjson.decode(payload).bytes)
  if job.attempts == '1' then
    local times = KEY.RUN_TIMES_OF .. job.model
    redis.call('LPUSH', times, now - job.started_at)
    redis.call('LTRIM', times, 0, RUN_TIMES_KEPT - 1)
  end
  return finish('succeeded', payload)
end

if move == 'hung' then return lose() end

if move == 'fail' then
  set('error', payload)
  return finish('failed', payload)
end

if move == 'cancelled' then return finish('cancelled', '{}') end

if move == 'requeue' then return back_to_queue(payload) end

return redis.error_reply('unknown move ' .. move)
