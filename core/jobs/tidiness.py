"""Objects that no record names: of attempts that did not end their job."""

from __future__ import annotations

import re
from typing import Any

from redis import Redis

from core.jobs import keys
from core.jobs.connection import redis_away_is_store_unavailable
from core.jobs.failures import NotFound
from core.jobs.objects import ObjectStore
from core.jobs.record import TERMINAL
from core.jobs.store import JobStore

_A_SWEEP = 100
_OF_ATTEMPT = re.compile(r"\d+/")


def tidy(redis: Redis, store: JobStore, objects: ObjectStore) -> int:
    """Remove what is due, from all jobs that ended a while ago; how many objects that were.

    Raises ObjectStoreError, StoreUnavailable: what was not looked after is looked after next time.
    """
    with redis_away_is_store_unavailable():
        clock: Any = redis.time()
        now_ms = clock[0] * 1_000 + clock[1] // 1_000
        due: Any = redis.zrangebyscore(keys.UNTIDY, "-inf", now_ms, start=0, num=_A_SWEEP)
    removed = 0
    for raw in due:
        job_id, _, tenant = raw.decode().partition(":")
        removed += _tidy_one(store, objects, job_id, tenant)
        with redis_away_is_store_unavailable():
            redis.zrem(keys.UNTIDY, raw)
    return removed


def _tidy_one(store: JobStore, objects: ObjectStore, job_id: str, tenant: str) -> int:
    folder = f"{tenant}/{job_id}/"
    try:
        record = store.get(job_id)
    except NotFound:  # deleted
        left = objects.list(folder)
    else:
        if record.status not in TERMINAL:
            return 0  # retried: its next end comes here again
        kept = record.result.keys.image.rpartition("/")[0] if record.result else None
        left = [
            key
            for key in objects.list(folder)
            if _OF_ATTEMPT.match(key.removeprefix(folder)) and key.rpartition("/")[0] != kept
        ]
    for key in left:
        objects.delete(key)
    return len(left)
