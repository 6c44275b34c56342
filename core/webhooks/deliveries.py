"""Webhook deliveries: which are due, the history of their tries, and redelivery."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.stored import KeepUnknown, read_all
from panoweave.core.jobs.record import PING, PROGRESS, JobRecord, StoredDeliveryType

log = logging.getLogger(__name__)


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up after the last try; may be redelivered
    GONE = "gone"  # the receiver answered 410: it wants no more events of this job


StoredState = Annotated[State, KeepUnknown()]

TryError = Literal[
    "target_refused",  # an address that the rules forbid
    "unknown_host",
    "connection_failed",
    "tls_failed",
    "timeout",
    "no_secret",  # the tenant has none to sign with
    "job_forgotten",
    "internal_error",  # a fault of ours
]
StoredTryError = Annotated[TryError, KeepUnknown()]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Try(_Part):
    """One try: the status that the receiver answered, or why there is none."""

    at: datetime
    took_s: float
    status: int | None = None
    error: StoredTryError | None = None


class Delivery(_Part):
    id: str  # the webhook-id: the same over all tries
    job_id: str  # or the batch's, or the ping's
    tenant: str
    type: StoredDeliveryType
    url: str
    attempt: int  # of the job, at the event
    happened_at: datetime
    state: StoredState
    tries: int  # since the event or the last redelivery

    @property
    def is_tried_once(self) -> bool:
        """After a failed try there is newer progress. A ping shows how one try ends."""
        return self.type in (PROGRESS, PING)


class DeliveryHistory(_Part):
    """A delivery and its tries."""

    delivery: Delivery
    next_try_at: datetime | None
    tries: list[Try]


class Deliveries:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._ttl_s = settings.job_ttl_s
        self._script = register_script(redis, __package__, "deliveries.lua")

    def claim(
        self,
        free: int,
        lease_s: float,
        senders: Mapping[str, int] = MappingProxyType({}),
        kept: int = 0,
    ) -> list[Delivery]:
        """Due deliveries for the `free` senders, to be settled or postponed within the lease.

        Tenants are served in turn. None gets more senders, with the ones that it has already
        (`senders`), than then stay free for others. `kept` of the free ones are for tenants that
        have no sender, one each.
        """
        held = [text for pair in senders.items() for text in pair]
        claimed = self._call("claim", free, kept, round(lease_s * 1_000), *held)
        found = (_delivery(_pairs(flat)) for flat in claimed)
        return [delivery for delivery in found if delivery]

    def postpone(self, delivery_id: str, pause_s: float) -> None:
        self._call("postpone", delivery_id, round(pause_s * 1_000))

    def settle(self, delivery_id: str, tried: Try, state: State, pause_s: float = 0) -> None:
        """Store a try. `pause_s`: until the next try, if the delivery stays pending."""
        self._call(
            "settle", delivery_id, tried.model_dump_json(), state.value, round(pause_s * 1_000)
        )

    def redeliver(self, delivery_ids: Iterable[str]) -> None:
        self._call("redeliver", self._ttl_s, *delivery_ids)

    def of_job(self, record: JobRecord) -> list[DeliveryHistory]:
        """The deliveries of a job and of its batch, oldest first."""
        of_batch = self.of(record.batch_id) if record.batch_id else []
        found = [*self.of(record.id), *of_batch]
        return sorted(found, key=lambda history: history.delivery.happened_at)

    def of(self, job_id: str) -> list[DeliveryHistory]:
        """The deliveries of a job, or of a batch alone, oldest first."""
        with translate_redis_errors():
            raw_ids: Any = self._redis.lrange(redis_keys.deliveries(job_id), 0, -1)
            ids = [raw.decode() for raw in raw_ids]
            pipeline = self._redis.pipeline(transaction=False)
            for each in ids:
                pipeline.hgetall(redis_keys.delivery(each))
                pipeline.lrange(redis_keys.delivery_attempts(each), 0, -1)
                pipeline.zscore(redis_keys.OUTBOX, each)
            answers = pipeline.execute()
        found = zip(answers[::3], answers[1::3], answers[2::3], strict=True)
        return [
            DeliveryHistory(
                delivery=delivery,
                next_try_at=None if due_ms is None else _time(due_ms),
                tries=read_all(Try, tries),
            )
            for fields, tries, due_ms in found
            if fields and (delivery := _delivery(fields))
        ]

    def _call(self, *arguments: str | int) -> Any:
        with translate_redis_errors():
            return self._script(args=arguments)


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _delivery(fields: dict[bytes, bytes]) -> Delivery | None:
    """None if this version cannot read it: it does not hide the others."""
    stored: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    try:
        return Delivery.model_validate({**stored, "happened_at": _time(stored["happened_at"])})
    except (ValueError, KeyError) as error:
        log.warning("a delivery is not read: %s", error)
        return None


def _time(ms: str | float) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1_000, UTC)
