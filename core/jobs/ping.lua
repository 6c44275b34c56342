-- Puts a ping into the outbox: a webhook to try an address, of no job. outbox.lua stands before it.
-- ARGV: id, tenant, type, url, ttl in s.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id, tenant, type, url, ttl_s = unpack(ARGV)
put_into_outbox(id, id, tenant, type, url, 0, now, ttl_s)
