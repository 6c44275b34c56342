"""What becomes due, and what is remembered of each try."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import now_ms
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord, Webhook, WebhookEvent
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, State, Try
from tests.jobs.samples import FAILURE, WEBHOOK, new_record, progress, result_of, start_job

TRIED = Try(at=datetime(2026, 11, 26, tzinfo=UTC), took_s=0.5, status=500)


@pytest.fixture
def deliveries(redis: Redis, settings: Settings) -> Deliveries:
    return Deliveries(redis, settings)


def post(store: JobStore, *events: WebhookEvent) -> JobRecord:
    webhook = Webhook(url=WEBHOOK.url, events=events or WEBHOOK.events)
    return store.create(new_record().model_copy(update={"webhook": webhook}))


def run(store: JobStore, record: JobRecord) -> tuple[JobRecord, str]:
    started = start_job(store, record.id, "worker-1")
    assert started.token is not None
    return started, started.token


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
def test_each_end_is_due_once(store: JobStore, deliveries: Deliveries, ending: str) -> None:
    record, token = run(store, post(store))
    for _ in range(2):  # the second is a repeat, as after a lost answer
        match ending:
            case "succeeded":
                store.succeed(record.id, token, result_of(record))
            case "failed":
                store.fail(record.id, token, FAILURE)
            case _:
                store.cancelled(record.id, token)
    (due,) = deliveries.claim(10, 60)
    assert (due.job_id, due.type, due.state) == (record.id, f"panorama.{ending}", State.PENDING)
    assert due.url == WEBHOOK.url
    assert due.id.startswith("whk_")


def test_nothing_is_due_that_nobody_asked_for(store: JobStore, deliveries: Deliveries) -> None:
    record, token = run(store, post(store, "panorama.failed"))
    store.report(record.id, token, progress(1))
    store.succeed(record.id, token, result_of(record))
    without = store.create(new_record().model_copy(update={"webhook": None}))
    store.request_cancel(without.id)
    assert deliveries.claim(10, 60) == []
    assert deliveries.of(record.id) == []


def test_progress_is_told_now_and_then(store: JobStore, deliveries: Deliveries) -> None:
    """The first at once, then not every step."""
    record, token = run(store, post(store, "panorama.started", "panorama.progress"))
    for step in range(1, 30):
        store.report(record.id, token, progress(step))
    types = [each.delivery.type for each in deliveries.of(record.id)]
    assert types == ["panorama.started", "panorama.progress"]


def test_each_attempt_delivers_its_start(store: JobStore, deliveries: Deliveries) -> None:
    record, token = run(store, post(store, "panorama.started"))
    store.requeue(record.id, token, "preempted")
    run(store, record)
    histories = deliveries.of(record.id)
    assert [each.delivery.attempt for each in histories] == [1, 2]
    assert len({each.delivery.id for each in histories}) == 2


def test_what_is_claimed_is_nobody_elses_until_its_lease_has_passed(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    store.request_cancel(post(store).id)
    before = now_ms(redis)
    (claimed,) = deliveries.claim(10, 60)
    until: Any = redis.zscore(redis_keys.OUTBOX, claimed.id)
    assert before + 60_000 <= until <= now_ms(redis) + 60_000
    assert deliveries.claim(10, 60) == []
    redis.zadd(redis_keys.OUTBOX, {claimed.id: now_ms(redis) - 1})  # its sender died
    assert deliveries.claim(10, 60) == [claimed]


def cancel_new(store: JobStore, tenant: str) -> None:
    record = new_record(tenant=tenant).model_copy(update={"webhook": WEBHOOK})
    store.request_cancel(store.create(record).id)


def test_tenants_are_served_in_turn_and_none_gets_more_than_stays_free(
    store: JobStore, deliveries: Deliveries
) -> None:
    for tenant in ["flood"] * 40 + ["second"] * 3 + ["third"]:
        cancel_new(store, tenant)

    def claim(free: int, **senders: int) -> dict[str, int]:
        return dict(Counter(due.tenant for due in deliveries.claim(free, 60, senders)))

    assert claim(3) == {"flood": 1, "second": 1, "third": 1}
    assert claim(14, flood=1, second=1, third=1) == {"flood": 6, "second": 2}
    assert claim(5, flood=7, second=3, third=1) == {}
    assert claim(8, flood=7) == {"flood": 1}


def test_many_tenants_are_served_in_turn(store: JobStore, deliveries: Deliveries) -> None:
    """More than a claim reads at once."""
    tenants = [f"tenant-{number}" for number in range(120)]
    for tenant in tenants * 2:
        cancel_new(store, tenant)
    for _ in range(2):
        served = [deliveries.claim(free, 60) for free in (70, 50)]
        assert sorted(due.tenant for claimed in served for due in claimed) == sorted(tenants)
    assert deliveries.claim(10, 60) == []


def test_tenants_whose_deliveries_are_due_later_cost_a_claim_nothing(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    for number in range(120):
        cancel_new(store, f"later-{number}")
    for due in deliveries.claim(120, 60):
        deliveries.settle(due.id, TRIED, State.PENDING, 300)

    def commands_of_a_claim() -> int:
        cancel_new(store, "now")
        before: Any = redis.info("commandstats")
        (due,) = deliveries.claim(120, 60)
        after: Any = redis.info("commandstats")
        assert due.tenant == "now"
        return sum(after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after)

    assert commands_of_a_claim() > 120
    assert commands_of_a_claim() < 40
    # As if the pause had passed for two of them, and a third had another one, that is due.
    assert redis.zcard(redis_keys.OUTBOX_TENANTS_LATER) >= 120
    for tenant in ("later-7", "later-70"):
        redis.zadd(redis_keys.OUTBOX_TENANTS_LATER, {tenant: 1})
        waiting: Any = redis.zrange(redis_keys.OUTBOX_OF + tenant, 0, -1)
        for key in (redis_keys.OUTBOX, redis_keys.OUTBOX_OF + tenant):
            redis.zadd(key, dict.fromkeys(waiting, 1))
    cancel_new(store, "later-9")
    found = deliveries.claim(120, 60)
    assert sorted(due.tenant for due in found) == ["later-7", "later-70", "later-9"]


def test_senders_are_kept_for_tenants_that_have_none(
    store: JobStore, deliveries: Deliveries
) -> None:
    for tenant in ["flood", "flood", "second", "second", "third"]:
        cancel_new(store, tenant)
    claimed = deliveries.claim(3, 60, {"flood": 4}, kept=3)
    assert sorted(due.tenant for due in claimed) == ["second", "third"]
    assert deliveries.claim(1, 60, {"flood": 4, "second": 1, "third": 1}, kept=3) == []
    cancel_new(store, "fourth")
    assert deliveries.claim(0, 60, kept=3) == []


def test_what_an_earlier_version_put_into_the_outbox_is_due(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    """It keeps no outbox for each tenant, and takes deliveries out of the common one alone."""
    for _ in range(250):
        cancel_new(store, "flood")
    cancel_new(store, "gone")
    cancel_new(store, "old")
    gone: Any = redis.zrange(redis_keys.OUTBOX_OF + "gone", 0, -1)
    redis.zrem(redis_keys.OUTBOX, *gone)
    redis.delete(redis_keys.OUTBOX_OF + "old")
    redis.zrem(redis_keys.OUTBOX_TENANTS, "old")
    deadline = time.monotonic() + 30
    while not (found := deliveries.claim(1, 60, {"flood": 200})):
        assert time.monotonic() < deadline
    assert [each.tenant for each in found] == ["old"]
    assert not redis.exists(redis_keys.OUTBOX_OF + "gone")


def test_a_failed_try_is_remembered_and_due_later(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    record = store.request_cancel(post(store).id)
    (claimed,) = deliveries.claim(1, 60)
    before = now_ms(redis)
    deliveries.settle(claimed.id, TRIED, State.PENDING, 300)
    after = now_ms(redis)
    (history,) = deliveries.of(record.id)
    assert history.tries == [TRIED]
    assert history.next_try_at is not None
    due_ms = round(history.next_try_at.timestamp() * 1_000)
    assert before + 300_000 <= due_ms <= after + 300_000
    assert deliveries.claim(1, 60) == []
    redis.zadd(redis_keys.OUTBOX, {claimed.id: 0})
    (again,) = deliveries.claim(1, 60)
    assert (again.id, again.tries) == (claimed.id, 1)


def test_a_success_stays_one_whatever_a_slow_sender_says(
    store: JobStore, deliveries: Deliveries
) -> None:
    record = store.request_cancel(post(store).id)
    (claimed,) = deliveries.claim(1, 60)
    deliveries.settle(claimed.id, TRIED.model_copy(update={"status": 200}), State.DELIVERED)
    deliveries.settle(claimed.id, TRIED, State.PENDING, 5)
    (history,) = deliveries.of(record.id)
    assert (history.delivery.state, history.next_try_at, len(history.tries)) == (
        State.DELIVERED,
        None,
        2,
    )


def test_gone_means_gone_for_all_events_of_the_job(store: JobStore, deliveries: Deliveries) -> None:
    record, token = run(store, post(store, "panorama.started", "panorama.succeeded"))
    (claimed,) = deliveries.claim(1, 60)
    deliveries.settle(claimed.id, TRIED.model_copy(update={"status": 410}), State.GONE)
    store.succeed(record.id, token, result_of(record))
    assert [each.delivery.state for each in deliveries.of(record.id)] == [State.GONE]
    assert deliveries.claim(1, 60) == []


def test_what_is_redelivered_is_due_at_once_and_new(
    store: JobStore, deliveries: Deliveries
) -> None:
    record = store.request_cancel(post(store).id)
    (claimed,) = deliveries.claim(1, 60)
    deliveries.settle(claimed.id, TRIED, State.DEAD)
    assert deliveries.claim(1, 60) == []
    deliveries.redeliver([claimed.id])
    (again,) = deliveries.claim(1, 60)
    assert (again.id, again.tries, again.state) == (claimed.id, 0, State.PENDING)
    (history,) = deliveries.of(record.id)
    assert history.tries == [TRIED]


def test_a_deleted_job_delivers_nothing(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    record = store.request_cancel(post(store).id)
    (claimed,) = deliveries.claim(1, 60)
    deliveries.settle(claimed.id, TRIED, State.PENDING, 0)
    store.delete(record.id)
    assert deliveries.claim(1, 60) == []
    deliveries.settle(claimed.id, TRIED, State.PENDING, 0)  # of a sender that was at it
    assert redis.keys("*deliver*") == []
    assert redis.zcard(redis_keys.OUTBOX) == 0
