"""When jobs are made, and how long they are kept: priority, start deadline, expiry."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import now_ms
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.errors import IllegalMove
from panoweave.core.jobs.orphan_cleanup import remove_orphans
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord, Status, Webhook
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries
from tests.jobs.samples import FAILURE, new_record, result_of, start_job


def post(store: JobStore, tenant: str = "default", **terms: Any) -> JobRecord:
    return store.create(new_record(tenant=tenant).model_copy(update=terms))


def claimed(store: JobStore, count: int) -> list[str]:
    found = [store.claim("worker", "embedded") for _ in range(count)]
    return [record.id for record in found if record]


def make_overdue(redis: Redis, record: JobRecord) -> None:
    """As if its seconds had passed."""
    redis.hset(redis_keys.job(record.id), "start_by", 1)
    redis.zadd(redis_keys.START_DEADLINES, {record.id: 1})


def test_a_tenants_jobs_start_by_priority_then_by_age(store: JobStore, redis: Redis) -> None:
    low, usual, high = (post(store, priority=each) for each in (-9, None, 9))
    also_usual = post(store)
    places = Queue(redis).estimate([low, usual, high, also_usual]).places
    order = [high.id, usual.id, also_usual.id, low.id]
    assert sorted(places, key=lambda each: places[each]) == order
    assert claimed(store, 4) == order


def test_priority_is_within_a_tenant(store: JobStore) -> None:
    first = [post(store, "ada", priority=9).id for _ in range(2)]
    other = post(store, "bob", priority=-9).id
    assert claimed(store, 3) == [first[0], other, first[1]]


def test_a_lost_job_waits_with_its_priority(store: JobStore) -> None:
    high = post(store, priority=5)
    started = start_job(store, high.id)
    usual = post(store)
    assert started.token is not None
    store.requeue(high.id, started.token, "preempted")
    assert claimed(store, 2) == [high.id, usual.id]


def test_queues_that_an_earlier_version_left_are_mended_with_priorities(
    store: JobStore, redis: Redis
) -> None:
    usual, high = post(store), post(store, priority=5)
    for key in redis.scan_iter(f"{redis_keys.WAITING_OF}*"):
        redis.delete(key)
    for key in redis.scan_iter(f"{redis_keys.QUEUED_OF}*"):
        redis.delete(key)
    assert claimed(store, 2) == [high.id, usual.id]


def test_what_has_not_begun_by_its_deadline_expires(
    store: JobStore, redis: Redis, settings: Settings
) -> None:
    webhook = Webhook(url="https://example.com/", events=("panorama.expired",))
    late = post(store, start_within_s=60, webhook=webhook)
    assert late.start_by is not None
    assert (late.start_by - late.created_at).total_seconds() == 60
    assert store.overdue() == []
    assert store.miss_start(late.id).status is Status.QUEUED
    make_overdue(redis, late)
    assert store.overdue() == [late.id]
    expired = store.miss_start(late.id)
    assert (expired.status, expired.attempts) == (Status.EXPIRED, 0)
    assert expired.finished_at is not None
    assert store.miss_start(late.id) == expired
    assert (store.overdue(), claimed(store, 1)) == ([], [])
    assert [event.type for event in events.read(redis, late.id)] == ["created", "expired"]
    (delivery,) = Deliveries(redis, settings).claim(10, 60)
    assert delivery.type == "panorama.expired"
    assert store.request_cancel(late.id) == expired
    with pytest.raises(IllegalMove):
        store.retry(expired)
    assert [each.id for each in store.list("default", Status.EXPIRED).records] == [late.id]
    store.delete(late.id)


def test_no_worker_begins_what_is_overdue(store: JobStore, redis: Redis) -> None:
    """Also before the janitor has come by."""
    for _ in range(3):
        make_overdue(redis, post(store, start_within_s=60))
    punctual = post(store, start_within_s=60)
    assert claimed(store, 2) == [punctual.id]
    assert len(store.list("default", Status.EXPIRED).records) == 3


def test_what_has_begun_in_time_may_begin_again(store: JobStore, redis: Redis) -> None:
    record = post(store, start_within_s=60)
    started = start_job(store, record.id)
    assert redis.zcard(redis_keys.START_DEADLINES) == 0
    assert started.token is not None
    store.requeue(record.id, started.token, "preempted")
    make_overdue(redis, record)
    assert store.miss_start(record.id).status is Status.QUEUED
    assert claimed(store, 1) == [record.id]


def test_a_cancelled_job_has_no_deadline(store: JobStore, redis: Redis) -> None:
    store.request_cancel(post(store, start_within_s=60).id)
    assert redis.zcard(redis_keys.START_DEADLINES) == 0


def finished(store: JobStore, objects: ObjectStore, record: JobRecord) -> JobRecord:
    started = start_job(store, record.id)
    assert started.token is not None
    objects.put(started.keys.image, b"", "image/png", EMPTY)
    return store.succeed(record.id, started.token, result_of(started))


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_job_is_deleted_with_its_objects_when_it_expires(
    store: JobStore, redis: Redis, objects: ObjectStore
) -> None:
    record = finished(store, objects, post(store, expires_in=60))
    kept = finished(store, objects, post(store))
    assert record.finished_at is not None
    assert record.expires_at is not None
    assert (record.expires_at - record.finished_at).total_seconds() == 60
    assert kept.expires_at is None
    ttl_s = redis.ttl(redis_keys.job(record.id))
    finished_ms = record.finished_at.timestamp() * 1_000
    assert 59 - (now_ms(redis) - finished_ms) / 1_000 <= ttl_s <= 60
    assert redis.ttl(redis_keys.job(kept.id)) > 3_600
    assert remove_orphans(redis, objects) == 0
    due: Any = redis.zscore(redis_keys.ORPHANS, f"all:{record.id}:1:default")
    assert finished_ms + 60_000 <= due <= finished_ms + 61_000
    redis.zadd(redis_keys.ORPHANS, {f"all:{record.id}:1:default": 1})
    remove_orphans(redis, objects)
    assert kept.result is not None
    assert objects.list("") == [kept.result.keys.image]


def test_a_retried_job_is_not_deleted_meanwhile(store: JobStore, redis: Redis) -> None:
    record = post(store, expires_in=60)
    started = start_job(store, record.id)
    assert started.token is not None
    failed = store.fail(record.id, started.token, FAILURE)
    assert redis.zscore(redis_keys.ORPHANS, f"all:{record.id}:1:default")
    store.retry(failed)
    assert redis.zscore(redis_keys.ORPHANS, f"all:{record.id}:1:default") is None
    assert redis.ttl(redis_keys.job(record.id)) == -1


def test_a_longer_expiry_keeps_the_picture_but_not_the_record(
    store: JobStore, redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    record = finished(store, objects, post(store, expires_in=31_536_000))
    assert redis.ttl(redis_keys.job(record.id)) <= settings.job_ttl_s
    due: Any = redis.zscore(redis_keys.ORPHANS, f"all:{record.id}:1:default")
    assert due / 1_000 - time.time() > 31_535_000
