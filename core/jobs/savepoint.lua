-- Stores a running job's savepoint, for the current attempt only: an attempt that is over must not
-- replace its successor's savepoint, or store one that outlives the job.
--
-- KEYS: the job's record, its savepoint. ARGV: token, ttl in s, bytes.
-- Answers 1 where it is stored, 0 where the attempt is over.

local holder = redis.call('HMGET', KEYS[1], 'status', 'token')
if holder[1] ~= 'running' or holder[2] ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
return 1
