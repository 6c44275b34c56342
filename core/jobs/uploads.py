"""Pictures that a tenant uploads for requests to come: how many, how large, and for how long.

A request that names an upload gets a copy of its own, so an upload is removed after a day whether
or not it was used.
"""

from __future__ import annotations

from typing import Any, Final

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import now_ms, translate_redis_errors
from panoweave.core.jobs.errors import TooManyUploads
from panoweave.core.jobs.orphan_cleanup import orphan_entry
from panoweave.core.jobs.record import new_id

KEPT_S: Final = 86_400  # after its URL has expired

_SCRIPT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.ceil((first[2] - now) / 1000)
end
local due = now + ARGV[2] * 1000
redis.call('ZADD', KEYS[1], due, ARGV[3])
redis.call('PEXPIREAT', KEYS[1], due)
redis.call('ZADD', KEYS[2], due, ARGV[4])
return 0
"""


def begin_upload(redis: Redis, tenant: str, limit: int, url_ttl_s: int) -> str:
    """The key of a new upload, counted against the tenant's limit and removed in due time.

    Raises TooManyUploads and StoreUnavailable.
    """
    folder = f"uploads/{new_id('upl')}"
    entry = orphan_entry(redis_keys.ORPHANS_ALL, folder, 0, tenant)
    keys = [redis_keys.uploads(tenant), redis_keys.ORPHANS]
    with translate_redis_errors():
        script = redis.register_script(_SCRIPT)
        wait_s: Any = script(keys=keys, args=[limit, url_ttl_s + KEPT_S, folder, entry])
    if wait_s:
        raise TooManyUploads(limit, int(wait_s))
    return f"{tenant}/{folder}/picture"


def expire_upload(redis: Redis, tenant: str, folder: str) -> None:
    """Have an upload removed in due time, if that is not planned: Redis may have lost its plan."""
    entry = orphan_entry(redis_keys.ORPHANS_ALL, folder, 0, tenant)
    with translate_redis_errors():
        redis.zadd(redis_keys.ORPHANS, {entry: now_ms(redis) + KEPT_S * 1_000}, nx=True)
