"""Objects that no record names: of attempts that did not end their job, of jobs that are no more.

An entry says all that must be known, so that what happens to the record meanwhile, a retry or its
end of life, makes no difference: `what:job:attempt:tenant`, with `what` of

- `others`: the job succeeded with this attempt; all others' objects
- `earlier`: the job ended without a picture; those of this attempt and all before it
- `all`: the job was deleted, or has expired without a picture; or an upload's time is over
- `begun`: pictures that came with a request; all, unless the job was taken in after all
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.s3 import ObjectStore

_A_SWEEP: Final = 100
_OF_ATTEMPT: Final = re.compile(r"(\d+)/")
# Long after `JobStore.create` should have taken a job in.
_NEVER_TAKEN_IN_MS: Final = 600_000

_IS_LEFT: Final[dict[str, Callable[[int | None, int], bool]]] = {
    "others": lambda number, attempt: number is not None and number != attempt,
    "earlier": lambda number, attempt: number is not None and number <= attempt,
    "all": lambda _number, _attempt: True,
    "begun": lambda _number, _attempt: True,
}


REMOVE_ALL: Final = "all"


def orphan_entry(what: str, folder: str, attempt: int, tenant: str) -> str:
    """`folder`: a job's id, or another folder of the tenant's."""
    return f"{what}:{folder}:{attempt}:{tenant}"


def expect_uploads(redis: Redis, job_id: str, tenant: str) -> None:
    """Objects of this job are about to be stored. Where `create` does not follow, they go again."""
    with translate_redis_errors():
        due_ms = _now_ms(redis) + _NEVER_TAKEN_IN_MS
        redis.zadd(redis_keys.ORPHANS, {orphan_entry("begun", job_id, 0, tenant): due_ms})


def remove_orphans(redis: Redis, objects: ObjectStore) -> int:
    """Remove what is due; how many objects that were.

    Raises ObjectStoreError, StoreUnavailable: what was not looked after is looked after next time.
    """
    with translate_redis_errors():
        due: Any = redis.zrangebyscore(
            redis_keys.ORPHANS, "-inf", _now_ms(redis), start=0, num=_A_SWEEP
        )
    removed = 0
    for raw in due:
        what, job_id, attempt, tenant = raw.decode().split(":", 3)
        with translate_redis_errors():
            # Its record was made by another request with the same key, or by a repeated one.
            is_wanted = what == "begun" and redis.exists(redis_keys.job(job_id))
        if not is_wanted:
            removed += _remove(objects, f"{tenant}/{job_id}/", _IS_LEFT[what], int(attempt))
        with translate_redis_errors():
            redis.zrem(redis_keys.ORPHANS, raw)
    return removed


def _remove(
    objects: ObjectStore, folder: str, is_left: Callable[[int | None, int], bool], attempt: int
) -> int:
    left = []
    for key in objects.list(folder):
        numbered = _OF_ATTEMPT.match(key.removeprefix(folder))
        if is_left(int(numbered[1]) if numbered else None, attempt):
            left.append(key)
    for key in left:
        objects.delete(key)
    return len(left)


def _now_ms(redis: Redis) -> int:
    clock: Any = redis.time()
    return int(clock[0]) * 1_000 + int(clock[1]) // 1_000
