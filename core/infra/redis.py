"""Connects to Redis, and translates its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.settings import Settings

# One retry replaces a pooled connection that died while idle, say because Redis restarted. Every
# command may be repeated safely, the moves of transition.lua included.
_RETRIES = 1

_SHARED_CONNECTIONS = 16

# How Redis's errors begin when it is full, its disk fails, or it is a replica. From within a script
# they come as plain ResponseErrors.
_TROUBLE = ("OOM ", "MISCONF ", "READONLY ")


def connect(settings: Settings, *, timeout_s: float = 2.0) -> Redis:
    """A client with bounded waits. Opens no connection yet."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), _RETRIES),
    )


def connect_async(settings: Settings, *, timeout_s: float = 2.0) -> AsyncRedis:
    """As `connect`, for an event loop. Any number of callers share a few connections."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=_SHARED_CONNECTIONS,
        timeout=None,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=AsyncRetry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), _RETRIES),
    )
    return AsyncRedis.from_pool(pool)


@contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Raises StoreUnavailable if Redis is away or refuses the command in the block."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except ResponseError as error:
        in_trouble = isinstance(error, OutOfMemoryError | ReadOnlyError | NoPermissionError)
        if in_trouble or any(word in str(error) for word in _TROUBLE):
            raise StoreUnavailable("Redis refuses the command") from error
        raise
