"""Pages of a tenant's jobs, filtered by what their records say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs.record import Status

# Of one page: if few jobs match, it is short, and has a cursor for the rest.
SCANNED_A_PAGE: Final = 5_000
MAX_COUNTED: Final = 10_000
_CHUNK: Final = 500
_FIELDS: Final = ("status", "created_at", "metadata")


@dataclass(frozen=True)
class Filter:
    """Which jobs are listed. What is None or empty matches all."""

    statuses: frozenset[Status] = frozenset()
    created_after: datetime | None = None  # exclusive, as is `created_before`
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # values as `text_of` writes them
    batch_id: str | None = None

    def index(self, tenant: str) -> str:
        """The smallest index that has all of them."""
        if self.batch_id is not None:
            return redis_keys.batch(self.batch_id)
        only = next(iter(self.statuses)) if len(self.statuses) == 1 else None
        return redis_keys.index(tenant, only)

    def matches(self, fields: list[bytes | None]) -> bool:
        status, created_ms, metadata = fields
        if status is None or created_ms is None:
            return False  # the record has expired
        if self.statuses and status.decode() not in self.statuses:
            return False
        created_at = int(created_ms) / 1_000
        if self.created_after and created_at <= self.created_after.timestamp():
            return False
        if self.created_before and created_at >= self.created_before.timestamp():
            return False
        if not self.metadata:
            return True
        held = json.loads(metadata or b"{}")
        return all(
            name in held and text_of(held[name]) == value for name, value in self.metadata.items()
        )


class Found(NamedTuple):
    ids: list[str]
    next_cursor: str | None


def text_of(value: Any) -> str:
    """A value of the metadata as a filter names it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def find(redis: Redis, tenant: str, wanted: Filter, limit: int, cursor: str | None) -> Found:
    """Newest first. The cursor is the last id of the page before."""
    ids: list[str] = []
    last, scanned = None, 0
    for job_id, fields in _scan(redis, tenant, wanted, cursor, limit + 1):
        if len(ids) == limit or scanned == SCANNED_A_PAGE:
            return Found(ids, last)
        scanned, last = scanned + 1, job_id
        if wanted.matches(fields):
            ids.append(job_id)
    return Found(ids, None)


def count(redis: Redis, tenant: str, wanted: Filter) -> int | None:
    """How many match. None if more than `MAX_COUNTED` jobs would have to be read."""
    matching = 0
    for number, (_, fields) in enumerate(_scan(redis, tenant, wanted, None, _CHUNK)):
        if number == MAX_COUNTED:
            return None
        matching += wanted.matches(fields)
    return matching


def _scan(
    redis: Redis, tenant: str, wanted: Filter, cursor: str | None, chunk: int
) -> Iterator[tuple[str, list[bytes | None]]]:
    """Reads `chunk` jobs at first, which is enough if all of them match."""
    index, newest = wanted.index(tenant), "+" if cursor is None else f"({cursor}"
    while True:
        with translate_redis_errors():
            raw: Any = redis.zrevrangebylex(index, newest, "-", start=0, num=chunk)
            pipeline = redis.pipeline(transaction=False)
            for job_id in raw:
                pipeline.hmget(redis_keys.job(job_id.decode()), *_FIELDS, "tenant")
            answers = pipeline.execute()
        for job_id, (*fields, owner) in zip(raw, answers, strict=True):
            if owner in (None, tenant.encode()):  # a batch's id may be another tenant's
                yield job_id.decode(), fields
        if len(raw) < chunk:
            return
        newest, chunk = f"({raw[-1].decode()}", _CHUNK
