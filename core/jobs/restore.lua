-- The record of a success that Redis has lost, as metadata.json in S3 has it: `panoweave recover`.
-- It is as `finish` in transition.lua leaves a job that has succeeded, but for its webhook, which is
-- not stored in S3: nobody hears of the same success twice. A job that Redis knows stays as it is, and
-- one whose objects are about to be deleted does not come back.
--
-- ARGV: job id, its result as JSON, how long its record is kept in s, its day since 1970, then the
--       record's fields and values.
-- Answers 1 if it was restored.

local id, result, ttl_s, day = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local job_key, events_key = KEY.JOB .. id, KEY.EVENTS .. id
if redis.call('EXISTS', job_key) == 1 then return 0 end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local job, bytes = {}, 0
for i = 5, #ARGV, 2 do
  job[ARGV[i]] = ARGV[i + 1]
  bytes = bytes + #ARGV[i] + #ARGV[i + 1]
end

local function orphans(which)
  return which .. ':' .. id .. ':' .. job.attempts .. ':' .. job.tenant
end

if redis.call('ZSCORE', KEY.ORPHANS, orphans(KEY.ORPHANS_ALL)) then return 0 end

redis.call('HSET', job_key, unpack(ARGV, 5))
count_kept(job.tenant, id, bytes)
for _, index in ipairs({'all', 'succeeded'}) do
  redis.call('ZADD', KEY.INDEX .. index .. ':' .. job.tenant, 0, id)
end
if job.batch_id then
  add_to_batch(job.batch_id, id)
  end_batch(job.batch_id, ttl_s)
end
redis.call('XADD', events_key, '*', 'type', 'succeeded', 'status', 'succeeded', 'attempt',
  job.attempts, 'data', result)
redis.call('EXPIRE', job_key, ttl_s)
redis.call('EXPIRE', events_key, ttl_s)
redis.call('ZADD', KEY.EXPIRY, now + ttl_s * 1000, 'succeeded:' .. id .. ':' .. job.tenant)
-- Attempts that did not end it may have left objects.
redis.call('ZADD', KEY.ORPHANS, now, orphans(KEY.ORPHANS_OTHERS))
if job.expires_in then
  redis.call('ZADD', KEY.ORPHANS, job.finished_at + job.expires_in * 1000, orphans(KEY.ORPHANS_ALL))
end

local function count_usage(what, amount)
  redis.call('HINCRBY', KEY.USAGE .. job.tenant, day .. ':' .. what, amount)
end

local made = cjson.decode(result)
count_usage('panoramas', 1)
count_usage('bytes', made.bytes)
if type(made.gpu_s) == 'number' then -- null in records of an earlier version
  count_usage('gpu_ms', math.floor(made.gpu_s * 1000))
end
return 1
