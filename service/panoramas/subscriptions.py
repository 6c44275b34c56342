"""Waiting for something to happen to a job: any number of waiters, and no thread each."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect_async
from panoweave.core.infra.settings import Settings

log = logging.getLogger(__name__)

# A wake that Redis lost, as it may when it restarts, costs a waiter so much time at the most.
_AT_LEAST_EVERY_S: Final = 5.0
_LISTEN_FOR_S: Final = 1.0
_AGAIN_AFTER_S: Final = 0.5
_CANCEL_AGAIN_AFTER_S: Final = 0.1


class Bell:
    """Rings when something may have happened to a job. Look, then wait, then look again."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, limit_s: float = _AT_LEAST_EVERY_S) -> None:
        """Until it has rung since the last wait, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(limit_s, _AT_LEAST_EVERY_S)):
                await self._rung.wait()
        self._rung.clear()


class Watch:
    """Listens to Redis, once for this process, and rings the bells of the job in question."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)

    @contextmanager
    def bell(self, job_id: str) -> Iterator[Bell]:
        bell = Bell()
        self._bells[job_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]

    async def listen(self) -> None:
        """For ever, through Redis's absences."""
        while True:
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(redis_keys.WAKES)
                    self._ring_all()  # for what happened while nobody listened
                    while True:
                        message = await channel.get_message(timeout=_LISTEN_FOR_S)
                        if message:
                            self._ring(message["data"].decode())
            except (RedisError, OSError):
                log.debug("Redis is away; waiters look by themselves meanwhile")
                await asyncio.sleep(_AGAIN_AFTER_S)

    def _ring(self, job_id: str) -> None:
        for bell in self._bells.get(job_id, ()):
            bell.ring()

    def _ring_all(self) -> None:
        for job_id in self._bells:
            self._ring(job_id)


@asynccontextmanager
async def open_watch(settings: Settings) -> AsyncIterator[Watch]:
    async with connect_async(settings) as redis:
        watch = Watch(redis)
        listening = asyncio.create_task(watch.listen())
        try:
            yield watch
        finally:
            # Again where it is lost: redis-py may swallow a cancellation while it connects.
            while not listening.done():
                listening.cancel()
                await asyncio.wait([listening], timeout=_CANCEL_AGAIN_AFTER_S)
