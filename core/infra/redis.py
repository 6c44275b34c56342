"""Connects to Redis, and translates its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import parse_url
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from panoweave.core.infra.errors import RedisIsCluster, StoreUnavailable
from panoweave.core.infra.redis_settings import RedisSettings

# One retry replaces a pooled connection that died while idle, say because Redis restarted. Every
# command may be repeated safely, the moves of transition.lua included.
_RETRIES: Final = 1
# Jitter: after an outage, all processes connect again, but not in the same moment.
_BACKOFF: Final = ExponentialWithJitterBackoff(base=0.02, cap=0.2)
# A Sentinel that is away costs this long, for each new connection, before the next one is asked.
_SENTINEL_TIMEOUT_S: Final = 0.5

_SHARED_CONNECTIONS = 16

# Redis is full, its disk fails, it is a replica, has lost its replicas (`min-replicas-to-write`) or
# its primary, or somebody's script holds it up. From within a script these are plain ResponseErrors
# that begin with the words.
_TROUBLE = (OutOfMemoryError, ReadOnlyError, NoPermissionError, MasterDownError)
_TROUBLE_WORDS = ("OOM ", "MISCONF ", "READONLY ", "NOREPLICAS ", "MASTERDOWN ", "BUSY ")
_CLUSTER = (AskError, ClusterCrossSlotError, ClusterDownError, TryAgainError)
# In errors of scripts: Redis 6 says the first, Redis 7 and Valkey 8 the others.
_CLUSTER_WORDS = ("non local key in a cluster", "a slot not served", "hash to the same slot")


def connect(settings: RedisSettings, *, timeout_s: float = 2.0) -> Redis:
    """A client with bounded waits. Opens no connection yet."""
    options = {**_options(settings, timeout_s), "retry": Retry(_BACKOFF, _RETRIES)}
    if not settings.redis_sentinels:
        return Redis.from_url(settings.redis_url.get_secret_value(), **options)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        settings.sentinel_addresses,
        sentinel_kwargs={**_sentinel_options(settings), "retry": Retry(NoBackoff(), 0)},
    )
    primary: Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        settings.redis_primary, **_primary_options(settings), **options
    )
    return primary


@asynccontextmanager
async def connect_async(
    settings: RedisSettings, *, timeout_s: float = 2.0
) -> AsyncIterator[AsyncRedis]:
    """As `connect`, for an event loop. Any number of callers share a few connections."""
    options = {
        **_options(settings, timeout_s),
        "retry": AsyncRetry(_BACKOFF, _RETRIES),
        "max_connections": _SHARED_CONNECTIONS,
        "timeout": None,
    }
    if not settings.redis_sentinels:
        url = settings.redis_url.get_secret_value()
        async with AsyncRedis.from_pool(BlockingConnectionPool.from_url(url, **options)) as redis:
            yield redis
        return
    sentinel = AsyncSentinel(  # type: ignore[no-untyped-call]
        settings.sentinel_addresses,
        sentinel_kwargs={**_sentinel_options(settings), "retry": AsyncRetry(NoBackoff(), 0)},
    )
    async with (
        sentinel,
        sentinel.master_for(
            settings.redis_primary,
            connection_pool_class=_BlockingSentinelPool,
            **_primary_options(settings),
            **options,
        ) as redis,
    ):
        yield redis


class _BlockingSentinelPool(AsyncSentinelConnectionPool, BlockingConnectionPool):
    """Where all connections are in use, callers wait for one."""


def _options(settings: RedisSettings, timeout_s: float) -> dict[str, Any]:
    """Of every connection to Redis."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        **_tls(settings),
    }


def _tls(settings: RedisSettings) -> dict[str, str]:
    files = {
        "ssl_ca_certs": settings.redis_ca,
        "ssl_certfile": settings.redis_certificate,
        "ssl_keyfile": settings.redis_private_key,
    }
    return {name: str(file) for name, file in files.items() if file}


def _primary_options(settings: RedisSettings) -> Mapping[str, Any]:
    """What the URL says of the primary but its address, which Sentinels know."""
    options = dict(parse_url(settings.redis_url.get_secret_value()))  # type: ignore[no-untyped-call]
    for known_by_sentinels in ("host", "port", "connection_class"):
        options.pop(known_by_sentinels, None)
    return {**options, "ssl": settings.redis_uses_tls}


def _sentinel_options(settings: RedisSettings) -> Mapping[str, Any]:
    password = settings.redis_sentinel_password
    return {
        **_options(settings, _SENTINEL_TIMEOUT_S),
        "ssl": settings.redis_uses_tls,
        "username": settings.redis_sentinel_username,
        "password": password.get_secret_value() if password else None,
    }


def refuse_cluster(redis: Redis) -> None:
    """Raises RedisIsCluster. A Redis that is away, or does not say, is not refused."""
    try:
        is_cluster = redis.info("cluster").get("cluster_enabled") == 1
    except (RedisConnectionError, RedisTimeoutError, ResponseError):
        return
    if is_cluster:
        raise RedisIsCluster


def now_ms(redis: Redis) -> int:
    """By Redis's clock, as all times in Redis are. Raises what redis-py raises."""
    clock: Any = redis.time()
    return int(clock[0]) * 1_000 + int(clock[1]) // 1_000


@contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Raises StoreUnavailable if Redis is away or refuses the command in the block."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise StoreUnavailable("Redis does not answer") from error
    except ResponseError as error:
        if isinstance(error, _TROUBLE) or any(word in str(error) for word in _TROUBLE_WORDS):
            raise StoreUnavailable("Redis refuses the command") from error
        if isinstance(error, _CLUSTER) or any(word in str(error) for word in _CLUSTER_WORDS):
            raise RedisIsCluster from error
        raise
