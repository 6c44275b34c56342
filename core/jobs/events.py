"""The events of a job: one capped Redis Stream for each job, whose ids are the event ids that
clients resume from. transition.lua appends, this module reads."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.stored import member_of
from panoweave.core.jobs.record import TERMINAL, Status

FIRST = "0-0"  # sorts before every event


class Event(NamedTuple):
    id: str  # "<milliseconds>-<sequence>"
    type: str  # created | started | progress | cancel_requested | requeued | retried | how it ended
    status: Status  # of the job after the event
    attempt: int
    data: dict[str, Any]


class Reading(NamedTuple):
    events: list[Event]
    is_over: bool  # the job has ended or was deleted, and these are its last events


def read(redis: Redis, job_id: str, after: str = FIRST, limit: int = 100) -> list[Event]:
    """Up to `limit` events after the one with id `after`."""
    with translate_redis_errors():
        return _events(redis.xrange(redis_keys.events(job_id), min=f"({after}", count=limit))


async def read_on(redis: AsyncRedis, job_id: str, after: str, limit: int = 100) -> Reading:
    """As `read`, without a thread; and whether no event can follow."""
    with translate_redis_errors():
        # The status is read first: if the job has ended by then, all its events are there. A
        # Redis at its `maxmemory` would refuse a transaction.
        async with redis.pipeline(transaction=False) as both:
            both.hget(redis_keys.job(job_id), "status")
            both.xrange(redis_keys.events(job_id), min=f"({after}", count=limit)
            status, entries = await both.execute()
    found = _events(entries)
    is_over = status is None or status.decode() in TERMINAL
    was_retried = bool(found) and found[-1].status not in TERMINAL  # after its status was read
    return Reading(found, is_over and not was_retried and len(found) < limit)


def _events(entries: Any) -> list[Event]:
    return [
        Event(
            id=entry_id.decode(),
            type=fields[b"type"].decode(),
            status=member_of(Status, fields[b"status"].decode()),
            attempt=int(fields[b"attempt"]),
            data=json.loads(fields[b"data"]),
        )
        for entry_id, fields in entries
    ]
