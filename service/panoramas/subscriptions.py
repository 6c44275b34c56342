"""Wakes requests that wait for a job to change: one Redis subscription for the whole process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect_async
from panoweave.core.infra.settings import Settings

log = logging.getLogger(__name__)

# Redis may lose a message when it restarts. A waiter then looks again after this long.
_MAX_WAIT_S: Final = 5.0
_READ_TIMEOUT_S: Final = 1.0
# A Redis that vanished with its machine closes no connection: silence for so long is its end.
_PING_EVERY_S: Final = 4.0
_LOST_AFTER_S: Final = 10.0
_RECONNECT_AFTER_S: Final = 0.5
_CANCEL_AGAIN_AFTER_S: Final = 0.1


class JobSubscription:
    """Tells one waiter that its job may have changed. Read the job, wait, then read it again."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def wait(self, limit_s: float = _MAX_WAIT_S) -> None:
        """Return once the job has changed since the last wait, or when the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(limit_s, _MAX_WAIT_S)):
                await self._changed.wait()
        self._changed.clear()


class JobSubscriptions:
    """All subscriptions of this process. A waiter costs no thread and no Redis connection."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._by_job: defaultdict[str, set[JobSubscription]] = defaultdict(set)

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[JobSubscription]:
        subscription = JobSubscription()
        self._by_job[job_id].add(subscription)
        try:
            yield subscription
        finally:
            self._by_job[job_id].discard(subscription)
            if not self._by_job[job_id]:
                del self._by_job[job_id]

    async def listen(self) -> None:
        """Pass Redis's messages on, and reconnect whenever Redis has been away."""
        while True:
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(redis_keys.WAKES)
                    self._notify_all()  # of what changed while this process was not listening
                    await self._read(channel)
            except (RedisError, OSError):
                log.debug("Redis is away; waiters poll until it is back")
                await asyncio.sleep(_RECONNECT_AFTER_S)

    async def _read(self, channel: PubSub) -> None:
        """Until the connection is lost: raises what redis-py raises then."""
        heard_at = pinged_at = time.monotonic()
        while True:
            message = await channel.get_message(timeout=_READ_TIMEOUT_S)
            now = time.monotonic()
            if message:
                heard_at = now
                if message["type"] == "message":
                    self._notify(message["data"].decode())
            elif now - heard_at > _LOST_AFTER_S:
                raise RedisConnectionError("the subscription has gone silent")
            elif now - max(heard_at, pinged_at) > _PING_EVERY_S:
                pinged_at = now
                await channel.ping()

    def _notify(self, job_id: str) -> None:
        if job_id == redis_keys.WAKES_ALL:
            self._notify_all()
        for subscription in self._by_job.get(job_id, ()):
            subscription.notify()

    def _notify_all(self) -> None:
        for job_id in self._by_job:
            self._notify(job_id)


@asynccontextmanager
async def open_subscriptions(settings: Settings) -> AsyncIterator[JobSubscriptions]:
    async with connect_async(settings) as redis:
        subscriptions = JobSubscriptions(redis)
        listener = asyncio.create_task(subscriptions.listen())
        try:
            yield subscriptions
        finally:
            # redis-py may swallow a cancellation while it connects, so cancel until it is done.
            while not listener.done():
                listener.cancel()
                await asyncio.wait([listener], timeout=_CANCEL_AGAIN_AFTER_S)
