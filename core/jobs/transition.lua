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
-- Answers {outcome, flat fields}, or those of each record for 'create'; outcome: moved | unchanged | missing | illegal | stale | full |
-- tenant_full | tenant_bytes | none.

local EVENTS_KEPT = 1000
local PROGRESS_DELIVERED_EVERY_MS = 5000
local RUN_TIMES_KEPT = 20
local DAY_MS = 86400000
local CLAIM_REMEMBERED_S = 60 -- longer than a client repeats a command whose reply was lost
local TERMINAL = ENDED

local move, id, token, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lease_ms, ttl_s, max_lost_attempts = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The oldest job of the tenant that the model has served longest ago, or never, among those with
-- fewer than `most` running.
local function next_job(most, model)
  for _, tenant in ipairs(redis.call('ZRANGE', KEY.WAITING_TENANTS_OF .. model, 0, -1)) do
    if most == 0 or redis.call('ZCARD', KEY.INDEX .. 'running:' .. tenant) < most then
      local found = oldest_waiting(model, tenant)
      if found then return found end
    end
  end
end

if move == 'claim' then
  local claim_key = KEY.CLAIM .. token
  id = redis.call('GET', claim_key)
  if not id then
    repair_model_queues()
    id = next_job(tonumber(ARGV[8]), ARGV[9])
  end
  if not id then return {'none', {}} end
  redis.call('SET', claim_key, id, 'EX', CLAIM_REMEMBERED_S)
  move = 'start'
end

local job_key, events_key = KEY.JOB .. id, KEY.EVENTS .. id

local job = {}

local function load_job()
  local flat = redis.call('HGETALL', job_key)
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
end

local function answer(outcome)
  return {outcome, redis.call('HGETALL', job_key)}
end

local function set(field, value)
  job[field] = tostring(value)
  redis.call('HSET', job_key, field, job[field])
end

-- The job's webhook, if it wants events of this type.
local function webhook_for(type)
  if not job.webhook or job.webhook_gone then return end
  local webhook = cjson.decode(job.webhook)
  for _, event in ipairs(webhook.events) do
    if event == type then return webhook end
  end
end

-- Puts an event into the outbox, if the job's webhook wants it.
local function deliver_to_webhook(kind, event_id)
  local type = 'panorama.' .. kind
  local webhook = webhook_for(type)
  if not webhook then return end
  if kind == 'progress' then
    local last_at = job.progress_told_at
    if last_at and now - last_at < PROGRESS_DELIVERED_EVERY_MS then return end
    set('progress_told_at', now)
  end
  -- The same end has the same id, also if Redis lost its last second and it is reached again.
  local which = job.retries or 0
  if kind == 'started' then which = job.attempts end
  if kind == 'progress' then which = event_id end
  local delivery = 'whk_' .. string.sub(id, 6) .. '_' .. kind .. '_' .. which
  put_into_outbox(delivery, id, job.tenant, type, webhook.url, job.attempts, now, ttl_s)
end

local function append_event(kind, data)
  local event_id = redis.call('XADD', events_key, 'MAXLEN', '~', EVENTS_KEPT, '*',
    'type', kind, 'status', job.status, 'attempt', job.attempts, 'data', data)
  deliver_to_webhook(kind, event_id)
  redis.call('PUBLISH', KEY.WAKES, id) -- wakes those who wait; they read the stream
end

-- After the job's own event: its end may be that of its batch.
local function check_batch()
  local batch_id, type = job.batch_id, 'batch.ended'
  if not has_batch_ended(batch_id) then return end
  end_batch(batch_id, ttl_s)
  local webhook = webhook_for(type)
  if not webhook then return end
  local delivery = 'whk_' .. string.sub(batch_id, 7) .. '_batch_ended_' .. batch_retries(batch_id)
  put_into_outbox(delivery, batch_id, job.tenant, type, webhook.url, 0, now, ttl_s)
end

-- Has objects deleted from a time on: core/jobs/orphan_cleanup.py says which.
local function clean_up(which, at)
  local entry = which .. ':' .. id .. ':' .. job.attempts .. ':' .. job.tenant
  redis.call('ZADD', KEY.ORPHANS, at, entry)
end

-- The job whose id the request's idempotency key remembers.
local function first_of_request()
  return job.batch_id and 'pano_' .. string.sub(job.batch_id, 7) or id
end

local function index(status)
  return KEY.INDEX .. status .. ':' .. job.tenant
end

-- A terminal job's hash expires by itself, its index entries do not: each job that ends clears
-- away two that expired, so the indexes stay as small as the records.
local function forget_expired(most)
  local expired = redis.call('ZRANGEBYSCORE', KEY.EXPIRY, '-inf', now, 'LIMIT', 0, most)
  for _, entry in ipairs(expired) do
    local status, old_id, tenant = string.match(entry, '^(%a+):([^:]+):(.*)$')
    redis.call('ZREM', KEY.INDEX .. 'all:' .. tenant, old_id)
    redis.call('ZREM', KEY.INDEX .. status .. ':' .. tenant, old_id)
    redis.call('ZREM', KEY.EXPIRY, entry)
    forget_kept(tenant, old_id)
    -- Its input pictures. Those of a success stay beside the result, which outlives the record.
    if status ~= 'succeeded' then
      redis.call('ZADD', KEY.ORPHANS, now, KEY.ORPHANS_ALL .. ':' .. old_id .. ':0:' .. tenant)
    end
  end
end

-- Keeps the tenants with queued jobs in the order in which they were last served.
local function update_waiting_tenants(is_served)
  local tenant = job.tenant
  if is_served then
    local count = redis.call('INCR', KEY.SERVED_COUNT)
    redis.call('HSET', KEY.LAST_SERVED, tenant, count)
    redis.call('HSET', KEY.LAST_SERVED_OF .. job.model, tenant, count)
  end
  if redis.call('EXISTS', KEY.INDEX .. 'queued:' .. tenant) == 1 then
    local served = redis.call('HGET', KEY.LAST_SERVED, tenant) or 0
    redis.call('ZADD', KEY.WAITING_TENANTS, served, tenant)
  else
    redis.call('ZREM', KEY.WAITING_TENANTS, tenant)
  end
  update_model_turn(job.model, tenant)
end

-- What tenants are charged for, by day.
local function count_usage(what, amount)
  local day = math.floor(now / DAY_MS)
  redis.call('HINCRBY', KEY.USAGE .. job.tenant, day .. ':' .. what, amount)
end

local function count_run()
  if not job.attempt_started_at then return end -- of an earlier version
  local ran_ms = math.max(0, now - job.attempt_started_at)
  set('run_ms', (job.run_ms or 0) + ran_ms)
  count_usage('gpu_ms', ran_ms)
  redis.call('HDEL', job_key, 'attempt_started_at')
end

local function enter(status)
  if job.status == 'running' then count_run() end
  redis.call('ZREM', index(job.status), id)
  redis.call('ZADD', index(status), 0, id)
  redis.call('ZREM', KEY.QUEUED, id)
  remove_from_model_queue(job.model, job.tenant, id)
  redis.call('ZREM', KEY.LEASES, id)
  set('status', status)
  if status == 'queued' then
    redis.call('ZADD', KEY.QUEUED, now, id)
    add_to_model_queue(job.model, job.tenant, id, now)
  end
  if status == 'running' then redis.call('ZADD', KEY.LEASES, now + lease_ms, id) end
  update_waiting_tenants(status == 'running')
end

-- Counted here: nobody can scrape a worker that ended with its job.
local function count(counter, kind)
  redis.call('HINCRBY', counter, kind, 1)
end

local function finish(status, data)
  enter(status)
  count(KEY.ENDED, status == 'failed' and 'failed:' .. cjson.decode(data).code or status)
  set('finished_at', now)
  -- Attempts that did not end it may have left objects.
  if job.attempts + 0 > (status == 'succeeded' and 1 or 0) then
    -- Two leases later: by then a worker that was taken for lost has noticed, or is dead.
    local which = status == 'succeeded' and KEY.ORPHANS_OTHERS or KEY.ORPHANS_EARLIER
    clean_up(which, now + 2 * lease_ms)
  end
  -- The savepoint is kept if a retry may resume from it, and expires by itself.
  local may_resume = status == 'failed' and cjson.decode(data).retryable
  if not may_resume then redis.call('DEL', KEY.SAVEPOINT .. id) end
  append_event(status, data)
  if job.batch_id then check_batch() end
  redis.call('EXPIRE', job_key, ttl_s)
  redis.call('EXPIRE', events_key, ttl_s)
  forget_expired(2)
  redis.call('ZADD', KEY.EXPIRY, now + ttl_s * 1000, status .. ':' .. id .. ':' .. job.tenant)
  return answer('moved')
end

local function back_to_queue(data)
  if job.cancel_requested == '1' then return finish('cancelled', data) end
  enter('queued')
  count(KEY.REQUEUED, cjson.decode(data).reason)
  append_event('requeued', data)
  return answer('moved')
end

-- The worker was lost, or hung: another attempt, or the end. The payload is the failure, and its
-- code the reason. The hash field 'losses' is the record's `lost_attempts`.
local function lose()
  set('token', '') -- the lost worker may come back: from here on its moves are refused
  set('losses', (job.losses or 0) + 1)
  if job.losses + 0 < max_lost_attempts or job.cancel_requested == '1' then
    return back_to_queue(cjson.encode({reason = cjson.decode(payload).code}))
  end
  set('error', payload)
  return finish('failed', payload)
end

local function full_queue(model, count, bytes)
  local most_queued, most_of_tenant, most_bytes, tenant =
    string.match(payload, '^(%d+) (%d+) (%d+) (.+)$')
  local queued = redis.call('ZCARD', KEY.QUEUED_OF .. model)
  if queued + count > tonumber(most_queued) then return 'full' end
  local of_tenant = redis.call('ZCARD', waiting_key(model, tenant))
  if of_tenant + count > tonumber(most_of_tenant) then return 'tenant_full' end
  local function has_room()
    local kept = tonumber(redis.call('HGET', KEY.KEPT_BYTES, tenant) or 0)
    return bytes == 0 or kept + bytes <= tonumber(most_bytes)
  end
  if has_room() then return end
  forget_expired(100) -- if nothing ends, nothing else clears them away
  if not has_room() then return 'tenant_bytes' end
end

local function create(new)
  id, job_key, events_key, job = new.id, KEY.JOB .. new.id, KEY.EVENTS .. new.id, {}
  -- The first write of the step: a full Redis refuses only a script's first write.
  redis.call('HSET', job_key, unpack(ARGV, new.first, new.last))
  load_job()
  redis.call('ZREM', KEY.ORPHANS, KEY.ORPHANS_BEGUN .. ':' .. id .. ':0:' .. job.tenant)
  set('created_at', now)
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

load_job()
if not job.status then return {'missing', {}} end

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
