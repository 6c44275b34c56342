"""Many jobs wait, some of which an earlier version has moved: the queues are mended in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord, new_job_id
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.jobs.steps import claim

JOBS = 1_200
MOST_AT_ONCE = 700  # 500, and what the last ZSCAN found more than it was asked for


@pytest.fixture
def records(store: JobStore) -> Sequence[JobRecord]:
    """Of three tenants and two models."""
    sample, found = new_record(), list[JobRecord]()
    for n in range(12):
        changes = {"model": ("sea", "forest")[n % 2], "tenant": f"t{n % 3}"}
        ids = (new_job_id() for _ in range(JOBS // 12))
        found += store.create_all(
            [sample.model_copy(update={"id": each, **changes}) for each in ids]
        )
    return found


def keys_by_model(redis: Redis, prefix: str) -> list[bytes]:
    found: list[bytes] = []
    for key in redis.scan_iter(f"{prefix}*"):
        found += cast("list[bytes]", redis.zrange(key, 0, -1))
    return found


def by_model(redis: Redis) -> set[bytes]:
    """The jobs in the queues by model, which the tenants' parts of them hold too."""
    found, of_tenants = (
        keys_by_model(redis, prefix) for prefix in (redis_keys.QUEUED_OF, redis_keys.WAITING_OF)
    )
    assert sorted(found) == sorted(of_tenants)
    return set(found)


def ids(records: Sequence[JobRecord]) -> set[bytes]:
    return {record.id.encode() for record in records}


def start_as_before(redis: Redis, records: Sequence[JobRecord]) -> None:
    """As workers of an earlier version start jobs: the keys by model stay as they are."""
    redis.zrem(redis_keys.QUEUED, *(record.id for record in records))


def accept_as_before(redis: Redis, records: Sequence[JobRecord]) -> None:
    """As an API of an earlier version accepts jobs, which these are: not by model."""
    for record in records:
        redis.zrem(redis_keys.QUEUED_OF + record.model, record.id)
        redis.zrem(f"{redis_keys.WAITING_OF}{record.tenant}:{record.model}", record.id)


def scripts_run(redis: Redis) -> int:
    count: int = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    return count


def test_as_many_started_and_deleted_as_accepted(
    queue: Queue, redis: Redis, records: Sequence[JobRecord]
) -> None:
    """The counts agree, so only the comparison job by job finds them."""
    started, deleted, accepted = records[:300], records[300:400], records[-400:]
    start_as_before(redis, [*started, *deleted])
    redis.delete(*(redis_keys.job(record.id) for record in deleted))
    accept_as_before(redis, accepted)
    queue.waiting()
    assert by_model(redis) == ids(records[:-400])
    before = scripts_run(redis)
    queue.compare()
    assert scripts_run(redis) - before >= JOBS * 2 / MOST_AT_ONCE
    assert by_model(redis) == ids(records[400:])


def test_where_counts_differ_each_call_mends_a_part(
    queue: Queue, redis: Redis, records: Sequence[JobRecord]
) -> None:
    """As after an upgrade, with many jobs waiting: no call looks at all of them."""
    accept_as_before(redis, records[:-1])
    missing = JOBS - 1
    calls = 0
    while missing:
        queue.waiting()
        before, missing = missing, JOBS - len(by_model(redis))
        assert before - missing <= MOST_AT_ONCE
        calls += 1
        assert calls <= 2 * JOBS / 500 + 2
    assert sum(each.queued for each in queue.waiting()) == JOBS
    assert not redis.exists(redis_keys.QUEUE_COMPARISON)


def test_jobs_come_and_go_while_queues_are_compared(
    store: JobStore,
    queue: Queue,
    redis: Redis,
    records: Sequence[JobRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept_as_before(redis, records[-100:])
    compare, ended = queue._compare, list[JobRecord]()

    def compare_and_cancel(args: list[bytes]) -> object:
        ended.append(store.request_cancel(records[len(ended)].id))
        store.create(new_record("t9"))
        return compare(args=args)

    monkeypatch.setattr(queue, "_compare", compare_and_cancel)
    queue.compare()
    assert len(ended) >= 3
    assert ids(records[len(ended) :]) < by_model(redis)
    assert by_model(redis) == set(redis.zrange(redis_keys.QUEUED, 0, -1))


def test_earlier_versions_go_on_while_queues_are_compared(
    store: JobStore,
    queue: Queue,
    redis: Redis,
    records: Sequence[JobRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between parts an earlier version starts a job and accepts one, and this one claims one."""
    missing = records[-100:]
    accept_as_before(redis, missing)
    compare, claimed = queue._compare, list[JobRecord]()

    def compare_beside_others(args: list[bytes]) -> object:
        start_as_before(redis, [records[len(claimed)]])
        accept_as_before(redis, [store.create(new_record("t9"))])
        claimed.append(claim(store, "sea"))
        return compare(args=args)

    monkeypatch.setattr(queue, "_compare", compare_beside_others)
    queue.compare()
    assert len(claimed) >= 3
    assert len(ids(claimed)) == len(claimed)
    assert ids(missing) - ids(claimed) <= by_model(redis)
    Queue(redis).compare()
    assert by_model(redis) == set(redis.zrange(redis_keys.QUEUED, 0, -1))
