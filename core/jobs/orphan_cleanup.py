"""Deletes orphaned objects from S3: of attempts that did not end their job, and of deleted jobs.

An entry `which:folder:attempt:tenant` is added when objects become orphans, mostly by
transition.lua. It says everything, so it makes no difference whether the job's record is retried or
expires meanwhile. `which` is

- `others`: the job succeeded with this attempt; the objects of all others
- `earlier`: the job ended without a picture; the objects of this attempt and of all before it
- `all`: the job was deleted, or expired without a picture, or an upload expired; all objects
- `begun`: input pictures were stored for a request; all of them, unless its job was created
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import now_ms, translate_redis_errors
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord

_ENTRIES_A_SWEEP: Final = 100
_OF_ATTEMPT: Final = re.compile(r"(\d+)/")
# Long after `JobStore.create` should have created the job.
_NEVER_CREATED_MS: Final = 600_000

# Whether an object is an orphan, by the number of its attempt (None: an input) and the entry's.
_IS_ORPHAN: Final[dict[str, Callable[[int | None, int], bool]]] = {
    redis_keys.ORPHANS_OTHERS: lambda number, attempt: number is not None and number != attempt,
    redis_keys.ORPHANS_EARLIER: lambda number, attempt: number is not None and number <= attempt,
    redis_keys.ORPHANS_ALL: lambda _number, _attempt: True,
    redis_keys.ORPHANS_BEGUN: lambda _number, _attempt: True,
}


def orphan_entry(which: str, folder: str, attempt: int, tenant: str) -> str:
    """`which`: a constant of redis_keys. `folder`: a job's id, or another of the tenant's."""
    return f"{which}:{folder}:{attempt}:{tenant}"


def expect_uploads(redis: Redis, job_id: str, tenant: str) -> None:
    """Call before storing a job's input pictures: if the job is not created, they are deleted."""
    with translate_redis_errors():
        due_ms = now_ms(redis) + _NEVER_CREATED_MS
        redis.zadd(
            redis_keys.ORPHANS, {orphan_entry(redis_keys.ORPHANS_BEGUN, job_id, 0, tenant): due_ms}
        )


def expire_panorama(redis: Redis, record: JobRecord, at: datetime) -> None:
    """Have a panorama's objects deleted at that time, if that is not planned yet."""
    entry = orphan_entry(redis_keys.ORPHANS_ALL, record.id, record.attempts, record.tenant)
    with translate_redis_errors():
        redis.zadd(redis_keys.ORPHANS, {entry: int(at.timestamp() * 1_000)}, nx=True)


def remove_orphans(redis: Redis, objects: ObjectStore) -> int:
    """Delete the objects of entries that are due. Returns how many.

    Raises ObjectStoreError, StoreUnavailable: the entries that are left come next time.
    """
    with translate_redis_errors():
        due: Any = redis.zrangebyscore(
            redis_keys.ORPHANS, "-inf", now_ms(redis), start=0, num=_ENTRIES_A_SWEEP
        )
    removed = 0
    for raw in due:
        which, job_id, attempt, tenant = raw.decode().split(":", 3)
        if which not in _IS_ORPHAN:
            # A newer version's: left to its janitor, and out of the way of the others.
            with translate_redis_errors():
                redis.zadd(redis_keys.ORPHANS, {raw: now_ms(redis) + _NEVER_CREATED_MS})
            continue
        with translate_redis_errors():
            # The job was created after all: by another request with the same idempotency key.
            is_wanted = which == redis_keys.ORPHANS_BEGUN and redis.exists(redis_keys.job(job_id))
        if not is_wanted:
            removed += _remove(objects, f"{tenant}/{job_id}/", _IS_ORPHAN[which], int(attempt))
        with translate_redis_errors():
            redis.zrem(redis_keys.ORPHANS, raw)
    return removed


def _remove(
    objects: ObjectStore, folder: str, is_orphan: Callable[[int | None, int], bool], attempt: int
) -> int:
    orphans = []
    for key in objects.list(folder):
        numbered = _OF_ATTEMPT.match(key.removeprefix(folder))
        if is_orphan(int(numbered[1]) if numbered else None, attempt):
            orphans.append(key)
    for key in orphans:
        objects.delete(key)
    return len(orphans)
