"""What can go wrong with Redis, S3 and API keys.

InfraError
├── StoreUnavailable   Redis is away, loading, read-only or full
│   └── RedisIsCluster Redis runs in cluster mode, which is not supported
├── ObjectStoreError   S3 is away, or refused the request
│   └── NoSuchObject   S3 answered that the object does not exist
└── NoSuchKey          there is no API key with this id
"""

from __future__ import annotations


class InfraError(Exception):
    """Base of what this package raises on purpose."""


class StoreUnavailable(InfraError):
    """Redis did not accept the command. Assume that nothing happened, and try again later."""


class RedisIsCluster(StoreUnavailable):
    """One script changes a job and its indexes; a cluster would have them on several servers."""

    remedy = "use a Redis without cluster mode; for failover, one with a replica and Sentinels"

    def __init__(self) -> None:
        super().__init__("PANOWEAVE_REDIS_URL names a Redis Cluster, which is not supported")


class ObjectStoreError(InfraError):
    """The object store did not do what was asked, after bounded retries."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} ({remedy})" if remedy else problem)
        self.problem = problem
        self.remedy = remedy  # for the operator: which setting to correct, where that is known


class NoSuchObject(ObjectStoreError):
    """The object does not exist: asking again gives the same answer."""


class NoSuchKey(InfraError):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no API key {key_id}")
