-- Webhook deliveries: tried until they are delivered, given up or no longer wanted. transition.lua
-- puts each into the outbox in the same step as its event.
--
-- OUTBOX says when each is due. OUTBOX_OF holds the same for one tenant, so that tenants are served in
-- turn; where the two differ, OUTBOX is right: version 0.1.0 writes it alone. OUTBOX_TENANTS holds
-- tenants with deliveries, in the order in which they were served. A claim that finds one without a
-- due delivery moves it to OUTBOX_TENANTS_LATER until then: claims do not look at it meanwhile. It
-- returns as one that was never served: so it is before those that were.
--
-- ARGV: move, and
--   claim:     how many senders are free, how many of these are kept for tenants that have none,
--              lease in ms, then pairs of tenant and how many senders it has. Answers the fields of
--              each delivery that is due and gets a sender. No other sender gets it until the lease
--              has expired: if its sender dies, another one tries again.
--   postpone:  delivery, ms. Nothing was tried.
--   settle:    delivery, the try as JSON, state, ms until the next try, where that is 'pending'.
--   redeliver: ttl in s, deliveries. Each is tried anew, at once.

local ATTEMPTS_KEPT = 50
local COMPARED = 100 -- entries of OUTBOX at each claim
local TENANTS_READ = 50 -- at once; few claims need more
local TENANTS_BACK = 500 -- at each claim, more than there are senders

local move = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function schedule(id, tenant, due)
  redis.call('ZADD', KEY.OUTBOX, due, id)
  redis.call('ZADD', KEY.OUTBOX_OF .. tenant, due, id)
  redis.call('ZADD', KEY.OUTBOX_TENANTS, 'NX', 0, tenant)
end

local function remove(id, tenant)
  redis.call('ZREM', KEY.OUTBOX, id)
  redis.call('ZREM', KEY.OUTBOX_OF .. tenant, id)
end

local function tenant_of(id)
  return redis.call('HGET', KEY.DELIVERY .. id, 'tenant')
end

-- Gives tenants what OUTBOX alone holds. Another part of a long outbox is compared each time.
local function compare_outbox()
  local count = redis.call('ZCOUNT', KEY.OUTBOX, '-inf', now)
  local parts = math.max(1, math.ceil(count / COMPARED))
  local first = (now % parts) * COMPARED
  local due = redis.call(
    'ZRANGEBYSCORE', KEY.OUTBOX, '-inf', now, 'WITHSCORES', 'LIMIT', first, COMPARED)
  for i = 1, #due, 2 do
    local tenant = tenant_of(due[i])
    if tenant then
      schedule(due[i], tenant, due[i + 1])
    else
      redis.call('ZREM', KEY.OUTBOX, due[i]) -- it has expired
    end
  end
  return #due > 0
end

-- The fields of the tenant's delivery that has been due for longest.
local function claim_next(tenant, lease_ms)
  local own = KEY.OUTBOX_OF .. tenant
  while true do
    local id = redis.call('ZRANGEBYSCORE', own, '-inf', now, 'LIMIT', 0, 1)[1]
    if not id then
      local first = redis.call('ZRANGE', own, 0, 0, 'WITHSCORES')
      if first[2] then redis.call('ZADD', KEY.OUTBOX_TENANTS_LATER, first[2], tenant) end
      redis.call('ZREM', KEY.OUTBOX_TENANTS, tenant)
      return nil
    end
    local due = redis.call('ZSCORE', KEY.OUTBOX, id)
    local fields = redis.call('HGETALL', KEY.DELIVERY .. id)
    if not due or #fields == 0 then
      remove(id, tenant)
    elseif tonumber(due) > now then
      redis.call('ZADD', own, due, id)
    else
      schedule(id, tenant, now + lease_ms)
      redis.call('ZADD', KEY.OUTBOX_TENANTS, redis.call('INCR', KEY.OUTBOX_SERVED), tenant)
      return fields
    end
  end
end

local function bring_tenants_back()
  local key = KEY.OUTBOX_TENANTS_LATER
  local ready = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, TENANTS_BACK)
  for _, tenant in ipairs(ready) do
    redis.call('ZREM', key, tenant)
    redis.call('ZADD', KEY.OUTBOX_TENANTS, 'NX', 0, tenant)
  end
end

-- The tenant served longest ago is next. No tenant has more senders than are free: however much one
-- has to send, there are senders left for the next tenant, and half of these for the one after it.
-- Several tenants could take all of them together. So some senders are kept for tenants that have none.
if move == 'claim' then
  local free, kept, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  local senders = {}
  for i = 5, #ARGV, 2 do senders[ARGV[i]] = tonumber(ARGV[i + 1]) end
  local claimed = {}
  if not compare_outbox() then return claimed end
  bring_tenants_back()
  -- Whoever gets a sender goes to the end, and whoever has nothing due leaves; the others are passed
  -- over, and stay so: the number of free senders only falls.
  local passed_over = 0
  repeat
    local last = passed_over + TENANTS_READ - 1
    local tenants = redis.call('ZRANGE', KEY.OUTBOX_TENANTS, passed_over, last)
    for _, tenant in ipairs(tenants) do
      local held = senders[tenant] or 0
      if held < free - kept or (held == 0 and free > 0) then
        local fields = claim_next(tenant, lease_ms)
        if fields then
          claimed[#claimed + 1] = fields
          senders[tenant] = held + 1
          free = free - 1
        end
      else
        passed_over = passed_over + 1
      end
    end
  until #tenants == 0 or free == 0
  return claimed
end

if move == 'redeliver' then
  for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('EXISTS', KEY.DELIVERY .. id) == 1 then
      redis.call('HSET', KEY.DELIVERY .. id, 'state', 'pending', 'tries', 0)
      redis.call('EXPIRE', KEY.DELIVERY .. id, ARGV[2])
      redis.call('EXPIRE', KEY.DELIVERY_ATTEMPTS .. id, ARGV[2])
      schedule(id, tenant_of(id), now)
    end
  end
  return {}
end

local id = ARGV[2]
local key, attempts_key = KEY.DELIVERY .. id, KEY.DELIVERY_ATTEMPTS .. id
local tenant = tenant_of(id)
if not tenant then return {} end -- deleted meanwhile

if move == 'postpone' then
  if redis.call('ZSCORE', KEY.OUTBOX, id) then schedule(id, tenant, now + ARGV[3]) end
  return {}
end

if move == 'settle' then
  local attempt, state, pause_ms = ARGV[3], ARGV[4], ARGV[5]
  redis.call('HINCRBY', key, 'tries', 1)
  redis.call('RPUSH', attempts_key, attempt)
  redis.call('LTRIM', attempts_key, -ATTEMPTS_KEPT, -1)
  redis.call('EXPIRE', attempts_key, math.max(redis.call('TTL', key), 1))
  -- Another sender may have delivered it after this one's lease expired.
  if redis.call('HGET', key, 'state') == 'delivered' then return {} end
  redis.call('HSET', key, 'state', state)
  if state == 'pending' then
    schedule(id, tenant, now + pause_ms)
  else
    remove(id, tenant)
  end
  if state == 'gone' then
    -- The receiver wants no more events of this job.
    local job_id = redis.call('HGET', key, 'job_id')
    if redis.call('EXISTS', KEY.JOB .. job_id) == 1 then
      redis.call('HSET', KEY.JOB .. job_id, 'webhook_gone', 1)
    end
    for _, other in ipairs(redis.call('LRANGE', KEY.DELIVERIES .. job_id, 0, -1)) do
      if redis.call('HGET', KEY.DELIVERY .. other, 'state') == 'pending' then
        redis.call('HSET', KEY.DELIVERY .. other, 'state', 'gone')
        remove(other, tenant)
      end
    end
  end
  return {}
end

return redis.error_reply('unknown move ' .. move)
