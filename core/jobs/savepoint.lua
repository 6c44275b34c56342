-- Stores where a running job stands, for the attempt that holds it: what an attempt that is over
-- still has to say must not replace its successor's, or outlive the job.
--
-- KEYS: the job's record, its savepoint. ARGV: token, ttl in s, bytes.
-- Answers 1 where it is stored, 0 where the attempt is over.

local holder = redis.call('HMGET', KEYS[1], 'status', 'token')
if holder[1] ~= 'running' or holder[2] ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
return 1
