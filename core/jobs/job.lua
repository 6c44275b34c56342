-- What the moves of transition.lua are made of: the job's fields, indexes, events and end. Stands
-- before it; its header says what ARGV holds.

local EVENTS_KEPT = 1000
local PROGRESS_DELIVERED_EVERY_MS = 5000
local RUN_TIMES_KEPT = 20
local DAY_MS = 86400000
local TERMINAL = ENDED

local move, id, token, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lease_ms, ttl_s, max_lost_attempts = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The job that is moved.
local job_key, events_key, job

local function choose(job_id)
  id, job_key, events_key, job = job_id, KEY.JOB .. job_id, KEY.EVENTS .. job_id, {}
end

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
local function orphans(which)
  return which .. ':' .. id .. ':' .. job.attempts .. ':' .. job.tenant
end

local function clean_up(which, at)
  redis.call('ZADD', KEY.ORPHANS, at, orphans(which))
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
    add_to_model_queue(job.model, job.tenant, id, now, job.priority)
  else
    redis.call('ZREM', KEY.START_DEADLINES, id)
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
  local kept_s = ttl_s
  if job.expires_in then
    kept_s = math.min(ttl_s, job.expires_in)
    clean_up(KEY.ORPHANS_ALL, now + job.expires_in * 1000) -- the picture and all else
  end
  redis.call('EXPIRE', job_key, kept_s)
  redis.call('EXPIRE', events_key, kept_s)
  forget_expired(2)
  redis.call('ZADD', KEY.EXPIRY, now + kept_s * 1000, status .. ':' .. id .. ':' .. job.tenant)
  return answer('moved')
end

-- Whether it was to have begun by now. Once begun, it may take as long as it takes.
local function is_overdue()
  return job.status == 'queued' and job.start_by and not job.started_at and job.start_by + 0 <= now
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
