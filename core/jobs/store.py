"""The jobs in Redis. One Lua script, transition.lua, makes every change of status."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import now_ms, translate_redis_errors
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import listing
from panoweave.core.jobs.codec import from_fields, to_fields
from panoweave.core.jobs.errors import (
    IllegalMove,
    NotFound,
    QueueFull,
    StaleAttempt,
    TenantBytesFull,
    TenantQueueFull,
    UnreadableRecord,
)
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.listing import Filter
from panoweave.core.jobs.record import Failure, JobRecord, Progress, Result, Status

log = logging.getLogger(__name__)

_SCRIPTS: Final = (
    "model_queue.lua",
    "queue_repair.lua",
    "batches.lua",
    "kept_bytes.lua",
    "outbox.lua",
    "job.lua",
    "transition.lua",
)
_OVERDUE_A_SWEEP: Final = 100


class Signal(NamedTuple):
    """What a report or a heartbeat answers."""

    cancel_requested: bool


class Page(NamedTuple):
    records: list[JobRecord]
    next_cursor: str | None


class Counts(NamedTuple):
    queued: int
    running: int


class LostJob(NamedTuple):
    id: str
    token: str


class JobStore:
    """Every change is atomic in Redis and may be repeated.

    Raises StoreUnavailable if Redis is away, NotFound, and IllegalMove or StaleAttempt if the
    record refuses a move.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._lease_ms = round(settings.lease_s * 1_000)
        self._job_ttl_s = settings.job_ttl_s
        self._max_attempts = settings.max_attempts
        self._max_queued = settings.max_queued
        self._tenant_max_queued = settings.tenant_max_queued
        self._tenant_max_bytes = settings.tenant_max_bytes
        self._tenant_max_running = settings.tenant_max_running
        self._script = register_script(redis, __package__, *_SCRIPTS)

    def create(self, record: JobRecord) -> JobRecord:
        """As `create_all`, of one job."""
        return self.create_all([record])[0]

    def create_all(self, records: Sequence[JobRecord]) -> Sequence[JobRecord]:
        """The jobs of one request, all or none. The records as stored: `created_at` is Redis's
        clock, as all its times are. If the jobs exist already, their records.

        Raises QueueFull, TenantQueueFull or TenantBytesFull.
        """
        extra: list[str] = []
        for record in records:
            texts = [text for pair in to_fields(record).items() for text in pair]
            extra += [record.id, str(len(texts)), *texts]
        first = records[0]
        answer = self._ask("create", first.id, payload=self._limits(first), extra=extra)
        return [from_fields(_pairs(flat)) for flat in answer]

    def get(self, job_id: str, tenant: str | None = None) -> JobRecord:
        """Raises NotFound for another tenant's job too."""
        with translate_redis_errors():
            fields: Any = self._redis.hgetall(redis_keys.job(job_id))
        record = from_fields(fields) if fields else None
        if record is None or tenant not in (None, record.tenant):
            raise NotFound(job_id)
        return record

    def list(
        self,
        tenant: str,
        status: Status | None = None,
        limit: int = 20,
        cursor: str | None = None,
        batch_id: str | None = None,
    ) -> Page:
        """As `select`, of one status or batch."""
        statuses = frozenset() if status is None else frozenset({status})
        return self.select(tenant, Filter(statuses=statuses, batch_id=batch_id), limit, cursor)

    def select(self, tenant: str, wanted: Filter, limit: int, cursor: str | None = None) -> Page:
        """Newest first. The cursor is the last id of the page before, so jobs that arrive or
        finish meanwhile neither shift nor repeat what follows."""
        ids, next_cursor = listing.find(self._redis, tenant, wanted, limit, cursor)
        with translate_redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in ids:
                pipeline.hgetall(redis_keys.job(job_id))
            hashes = pipeline.execute()
        records = _readable(fields for fields in hashes if fields)  # some may have expired
        # A job may have moved on between the reads.
        in_status = [each for each in records if each.status in (wanted.statuses or {each.status})]
        return Page(in_status, next_cursor)

    def count(self, tenant: str, wanted: Filter) -> int | None:
        """How many there are; None if these are too many to count."""
        return listing.count(self._redis, tenant, wanted)

    def claim(self, worker: str, model: str) -> JobRecord | None:
        """queued -> running, as a new attempt: of the jobs that were accepted for this model, the
        oldest of the tenant served longest ago.

        The record's token is what the attempt's other moves ask for. None if no job waits for the
        model, or their tenants are at their limit of running jobs. Raises UnreadableRecord.
        """
        most = str(self._tenant_max_running or 0)
        fields = _pairs(self._ask("claim", "", secrets.token_hex(16), worker, [most, model]))
        # It must make what was accepted. A worker that understands the rest may get it once its
        # lease has expired.
        return from_fields(fields, exact=True) if fields else None

    def heartbeat(self, job_id: str, token: str) -> Signal:
        return self._touch("heartbeat", job_id, token)

    def report(self, job_id: str, token: str, progress: Progress) -> Signal:
        """Store the progress, publish it, and renew the lease as a heartbeat does."""
        return self._touch("report", job_id, token, progress.model_dump_json())

    def succeed(self, job_id: str, token: str, result: Result) -> JobRecord:
        """running -> succeeded; or -> cancelled, if a cancel was acknowledged before."""
        return self._move("succeed", job_id, token, result)

    def fail(self, job_id: str, token: str, failure: Failure) -> JobRecord:
        return self._move("fail", job_id, token, failure)

    def cancelled(self, job_id: str, token: str) -> JobRecord:
        return self._move("cancelled", job_id, token)

    def hung(self, job_id: str, token: str, failure: Failure) -> JobRecord:
        """A step hangs: as if the worker were lost. The caller must end its process."""
        return self._move("hung", job_id, token, failure)

    def requeue(self, job_id: str, token: str, reason: str) -> JobRecord:
        """running -> queued; or -> cancelled, if that was requested. Not a lost attempt."""
        return self._move("requeue", job_id, token, _Reason(reason=reason))

    def request_cancel(self, job_id: str) -> JobRecord:
        """Cancel a queued job at once, a running one at its next step: its record then has
        `cancel_requested`. A job that has ended stays as it is."""
        return self._move("request_cancel", job_id)

    def retry(self, record: JobRecord) -> JobRecord:
        """failed -> queued, because its caller asks. The next attempt resumes from its savepoint.

        A job that is queued or running stays as it is; others raise IllegalMove. Raises QueueFull
        or TenantQueueFull.
        """
        return self._move("retry", record.id, payload=self._limits(record))

    def delete(self, job_id: str) -> JobRecord:
        """Delete a job that has ended. Returns its last record. Others raise IllegalMove."""
        return self._move("delete", job_id)

    def lost(self) -> Sequence[LostJob]:
        """Running jobs whose lease has expired, by Redis's clock."""
        with translate_redis_errors():
            found: Any = self._redis.zrangebyscore(redis_keys.LEASES, "-inf", now_ms(self._redis))
            pipeline = self._redis.pipeline(transaction=False)
            for raw in found:
                pipeline.hget(redis_keys.job(raw.decode()), "token")
            tokens = pipeline.execute()
        return [
            LostJob(raw.decode(), token.decode())
            for raw, token in zip(found, tokens, strict=True)
            if token is not None
        ]

    def expire_lost(self, lost: LostJob) -> JobRecord:
        """Requeue a lost job, or fail it with `worker_lost` after the last attempt. A job whose
        worker has sent a heartbeat since `lost()`, or that has moved, stays as it is."""
        failure = Failure.of(FailureCode.WORKER_LOST, attempts=self._max_attempts)
        return self._move("expire", lost.id, lost.token, failure)

    def overdue(self) -> Sequence[str]:
        """Jobs that were to have begun by now, and may have."""
        with translate_redis_errors():
            found: Any = self._redis.zrangebyscore(
                redis_keys.START_DEADLINES,
                "-inf",
                now_ms(self._redis),
                start=0,
                num=_OVERDUE_A_SWEEP,
            )
        return [raw.decode() for raw in found]

    def miss_start(self, job_id: str) -> JobRecord:
        """queued -> expired, if it has not begun by its deadline. Else it stays as it is."""
        return self._move("miss_start", job_id)

    def check(self) -> None:
        """Raises StoreUnavailable if Redis accepts no write. A full Redis still answers reads."""
        with translate_redis_errors():
            self._redis.set(redis_keys.CHECK, b"", px=1)

    def counts(self) -> Counts:
        """Of all tenants."""
        with translate_redis_errors():
            # A Redis at its `maxmemory` would refuse a transaction.
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zcard(redis_keys.QUEUED)
            pipeline.zcard(redis_keys.LEASES)
            queued, running = pipeline.execute()
        return Counts(queued, running)

    def _limits(self, record: JobRecord) -> str:
        limits = (self._max_queued, self._tenant_max_queued, self._tenant_max_bytes)
        return f"{' '.join(map(str, limits))} {record.tenant}"

    def _move(
        self, move: str, job_id: str, token: str = "", payload: BaseModel | str = ""
    ) -> JobRecord:
        return from_fields(_pairs(self._ask(move, job_id, token, payload)))

    def _touch(self, move: str, job_id: str, token: str, payload: str = "") -> Signal:
        fields = _pairs(self._ask(move, job_id, token, payload))
        return Signal(cancel_requested=fields[b"cancel_requested"] == b"1")

    def _ask(
        self,
        move: str,
        job_id: str,
        token: str = "",
        payload: BaseModel | str = "",
        extra: Sequence[str] = (),
    ) -> Sequence[Any]:
        text = payload if isinstance(payload, str) else payload.model_dump_json()
        limits = (self._lease_ms, self._job_ttl_s, self._max_attempts)
        with translate_redis_errors():
            answer: Any = self._script(args=[move, job_id, token, text, *limits, *extra])
        outcome, found = answer[0].decode(), answer[1]
        match outcome:
            case "missing":
                raise NotFound(job_id)
            case "illegal":
                raise IllegalMove(move, from_fields(_pairs(found)))
            case "stale":
                raise StaleAttempt(move, from_fields(_pairs(found)))
            case "full":
                raise QueueFull(self._max_queued)
            case "tenant_full":
                raise TenantQueueFull(self._tenant_max_queued)
            case "tenant_bytes":
                raise TenantBytesFull(self._tenant_max_bytes)
        return tuple(found)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _readable(hashes: Iterable[dict[bytes, bytes]]) -> list[JobRecord]:
    """A record that cannot be read does not hide the others."""
    records = []
    for fields in hashes:
        try:
            records.append(from_fields(fields))
        except UnreadableRecord as error:
            log.warning("left out: %s", error)
    return records


class _Reason(BaseModel):
    reason: str
