"""Delivers webhooks from the outbox: signed as Standard Webhooks says, and retried for a day and a
half. It runs in the janitor, so that no receiver ever slows a panorama."""

from __future__ import annotations

import email.utils
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from redis import Redis
from standardwebhooks import Webhook

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import NotFound
from panoweave.core.jobs.record import BATCH_ENDED, PING
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, Delivery, State, Try, TryError
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.core.webhooks.targets import TargetRules
from panoweave.worker.telemetry import metrics
from panoweave.worker.webhook_http import DEADLINE_S, NotSent, Response, post, tls_context
from panoweave.worker.webhook_payload import batch_payload, payload, ping_payload

log = logging.getLogger(__name__)

# After each failed try; after the last the delivery is dead.
PAUSES_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400)
MAX_RETRY_AFTER_S: Final = 86_400.0

SENDERS: Final = 64  # of which one tenant gets half at most: see `Deliveries.claim`
# Besides, for tenants that have no sender, one each: without them, seven tenants with many
# deliveries to silent addresses would keep all others waiting.
KEPT_SENDERS: Final = 192
# Of one tenant. A slow host must not occupy all its senders, and a silent one only a few.
SENDERS_A_HOST: Final = 24
SENDERS_A_SILENT_HOST: Final = 2
_MAX_SILENT_HOSTS: Final = 10_000

_OUTCOMES: Final[dict[State, metrics.Outcome]] = {
    State.DELIVERED: "delivered",
    State.PENDING: "failed",
    State.DEAD: "dead",
    State.GONE: "gone",
}
_LEASE_S: Final = DEADLINE_S + 10
_POLL_S: Final = 0.25
_HOST_BUSY_S: Final = 1.0
_SILENT_HOST_BUSY_S: Final = 15.0
REDIS_WAIT_S: Final = 1.0


class Target(NamedTuple):
    """Hosts are counted by tenant: what one tenant sends to a host delays nobody else's."""

    tenant: str
    host: str


class WebhookDispatcher:
    """Several may run, in as many processes: each delivery is claimed by one of them at a time."""

    def __init__(self, redis: Redis, objects: ObjectStore, settings: Settings) -> None:
        self._store = JobStore(redis, settings)
        self._deliveries = Deliveries(redis, settings)
        self._secrets = WebhookSecrets(redis)
        self._objects = objects
        self._rules = TargetRules.of(settings)
        self._tls = tls_context()
        self._busy: Counter[Target] = Counter()  # senders
        self._silent: dict[Target, None] = {}  # whose last try had no answer, oldest first
        self._lock = threading.Lock()

    def run(self, stopping: threading.Event) -> None:
        """Dispatch until asked to stop; deliveries that have begun are finished."""
        with ThreadPoolExecutor(SENDERS + KEPT_SENDERS, "webhook") as senders:
            while not stopping.is_set():
                try:
                    idle = self._dispatch(senders)
                    pause_s = _POLL_S if idle else 0.0
                except StoreUnavailable:
                    pause_s = REDIS_WAIT_S
                except Exception:
                    log.exception("webhooks were not dispatched")
                    pause_s = REDIS_WAIT_S
                stopping.wait(pause_s)

    def _dispatch(self, senders: ThreadPoolExecutor) -> bool:
        """Submit due deliveries to senders. True: nothing was due, or all senders are busy."""
        by_tenant: Counter[str] = Counter()
        with self._lock:
            for target, count in self._busy.items():
                by_tenant[target.tenant] += count
        free = SENDERS + KEPT_SENDERS - by_tenant.total()
        due = self._deliveries.claim(free, _LEASE_S, by_tenant, KEPT_SENDERS) if free else []
        for delivery in due:
            target = Target(delivery.tenant, urlsplit(delivery.url).netloc)
            with self._lock:
                is_silent = target in self._silent
                most = SENDERS_A_SILENT_HOST if is_silent else SENDERS_A_HOST
                is_taken = self._busy[target] < most
                self._busy[target] += is_taken
            if is_taken:
                senders.submit(self._send, delivery, target)
            else:
                pause_s = _SILENT_HOST_BUSY_S if is_silent else _HOST_BUSY_S
                self._deliveries.postpone(delivery.id, pause_s)
        return not due

    def _send(self, delivery: Delivery, target: Target) -> None:
        try:
            self._note(target, is_silent=not self.deliver(delivery))
        except StoreUnavailable:
            log.warning("%s: Redis is away; tried again when its lease has passed", delivery.id)
        except Exception:
            log.exception("%s: unexpected", delivery.id)
        finally:
            with self._lock:
                self._busy[target] -= 1
                if not self._busy[target]:
                    del self._busy[target]

    def _note(self, target: Target, *, is_silent: bool) -> None:
        with self._lock:
            self._silent.pop(target, None)
            if is_silent:
                self._silent[target] = None
                if len(self._silent) > _MAX_SILENT_HOSTS:
                    del self._silent[next(iter(self._silent))]

    def deliver(self, delivery: Delivery) -> bool:
        """Try once, and store the outcome. Whether there was a response."""
        at, begun = datetime.now(UTC), time.monotonic()
        try:
            response, error = self._try(delivery, at)
            state, pause_s = outcome(delivery, response)
        except StoreUnavailable:
            raise
        except Exception:
            # Stored as a try, or the delivery would be sent again at the end of every lease.
            log.exception("%s: unexpected", delivery.id)
            response, error = None, "internal_error"
            state, pause_s = outcome(delivery, response)
        tried = Try(
            at=at,
            took_s=round(time.monotonic() - begun, 3),
            status=response.status if response else None,
            error=error,
        )
        self._deliveries.settle(delivery.id, tried, state, pause_s)
        if delivery.type != PING:  # of no panorama: it raises no alert on webhooks
            # Progress that is lost is no event that is lost: nobody is to redeliver it.
            is_minor = state is State.DEAD and delivery.is_tried_once
            metrics.webhook_attempt("failed" if is_minor else _OUTCOMES[state], tried.took_s)
        log.info(
            "%s: %s: %s, %s", delivery.job_id, delivery.type, error or tried.status, state.value
        )
        return response is not None

    def _try(self, delivery: Delivery, at: datetime) -> tuple[Response | None, TryError | None]:
        body = self._body(delivery)
        if body is None:
            return None, "job_forgotten"
        if not (signatures := self._sign(delivery, at, body)):
            return None, "no_secret"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"panoweave/{version('panoweave')}",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signatures,
        }
        try:
            return post(delivery.url, body, headers, self._rules, DEADLINE_S, self._tls), None
        except NotSent as reason:
            return None, reason.error

    def _body(self, delivery: Delivery) -> bytes | None:
        """None if the panorama, or all those of a batch, have been deleted."""
        if delivery.type == PING:
            return ping_payload(delivery)
        if delivery.type == BATCH_ENDED:
            records = self._store.list(delivery.tenant, batch_id=delivery.job_id).records
            return batch_payload(delivery, records[::-1]) if records else None
        try:
            return payload(delivery, self._store.get(delivery.job_id), self._objects)
        except NotFound:
            return None

    def _sign(self, delivery: Delivery, at: datetime, body: bytes) -> str:
        held = self._secrets.of(delivery.tenant)
        return " ".join(
            Webhook(each.secret.get_secret_value()).sign(delivery.id, at, body.decode())
            for each in held
        )


def outcome(delivery: Delivery, response: Response | None) -> tuple[State, float]:
    """The delivery's state after a try, and the pause until the next one."""
    if response and 200 <= response.status < 300:
        return State.DELIVERED, 0
    if response and response.status == 410:
        return State.GONE, 0
    if delivery.is_tried_once or delivery.tries >= len(PAUSES_S):
        return State.DEAD, 0
    asked_s = _seconds(response.retry_after) if response and response.retry_after else 0.0
    return State.PENDING, max(PAUSES_S[delivery.tries], min(asked_s, MAX_RETRY_AFTER_S))


def _seconds(retry_after: str) -> float:
    """Parses both forms of `Retry-After`; 0 for anything else, such as a year that is none."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
