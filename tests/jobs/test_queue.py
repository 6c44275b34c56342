"""Whose turn it is."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import TICKET, Queue
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record, progress
from tests.jobs.steps import approx, claim, place, post, publish_worker, succeed

SECRET_PROMPT = "a prompt that stays private"


def test_rq_gets_not_a_word_of_the_prompt(queue: Queue, store: JobStore, redis: Redis) -> None:
    store.create(new_record(prompt=SECRET_PROMPT))
    queue.add_ticket("embedded")
    (job,) = queue.tickets("embedded").jobs
    assert (job.func_name, list(job.args)) == (TICKET, [])
    fields: Any = redis.hgetall(job.key)
    assert SECRET_PROMPT.encode() not in b"".join(fields.values())


def test_a_tenants_jobs_are_taken_in_the_order_they_came(store: JobStore) -> None:
    posted = [post(store) for _ in range(3)]
    assert [claim(store).id for _ in range(3)] == [record.id for record in posted]
    assert store.claim("worker-1", "embedded") is None


def test_a_tenant_with_many_jobs_keeps_nobody_waiting(store: JobStore, queue: Queue) -> None:
    """Another's job is the next but the one in hand, however many wait already."""
    crowd = [post(store, "crowd") for _ in range(200)]
    assert claim(store).id == crowd[0].id
    single, second = post(store, "single"), post(store, "single")
    assert (place(queue, single), place(queue, second)) == (0, 2)
    assert place(queue, crowd[1]) == 1
    order = [claim(store).id for _ in range(5)]
    assert order == [single.id, crowd[1].id, second.id, crowd[2].id, crowd[3].id]


def test_who_was_served_goes_behind_whoever_comes_back(store: JobStore) -> None:
    first = [post(store, "a"), post(store, "b")]
    for expected in first:
        succeed(store, claim(store))
        assert store.get(expected.id).status is Status.SUCCEEDED
    later_b, later_a = post(store, "b"), post(store, "a")
    assert [claim(store).id, claim(store).id] == [later_a.id, later_b.id]


def test_places_are_those_in_which_jobs_are_taken(store: JobStore, queue: Queue) -> None:
    """For any tenants, in whatever order they were served before."""
    chance = random.Random(7)
    for _ in range(12):
        for _ in range(chance.randrange(12)):
            post(store, f"tenant-{chance.randrange(5)}")
        waiting = [
            record
            for number in range(5)
            for record in store.list(f"tenant-{number}", Status.QUEUED, 100).records
        ]
        places = queue.estimate(waiting).places
        assert sorted(places.values()) == list(range(len(waiting)))
        for taken in range(min(len(waiting), chance.randrange(9))):
            assert places[claim(store).id] == taken


def test_a_job_that_does_not_wait_has_no_place(store: JobStore, queue: Queue) -> None:
    running, waiting = post(store), post(store)
    claim(store)
    store.request_cancel(waiting.id)
    assert queue.estimate([running, waiting]).places == {}


def test_a_job_that_was_given_back_is_its_tenants_next(store: JobStore) -> None:
    first, second = post(store), post(store)
    record = claim(store)
    assert record.token is not None
    store.requeue(record.id, record.token, "preempted")
    assert [claim(store).id, claim(store).id] == [first.id, second.id]


def test_a_tenant_runs_no_more_at_once_than_it_may(redis: Redis, settings: Settings) -> None:
    store = JobStore(redis, settings.model_copy(update={"tenant_max_running": 2}))
    crowd = [post(store, "crowd") for _ in range(4)]
    running = [claim(store), claim(store)]
    assert [record.id for record in running] == [record.id for record in crowd[:2]]
    assert store.claim("worker-3", "embedded") is None
    single = post(store, "single")
    assert claim(store).id == single.id
    succeed(store, running[0])
    assert claim(store).id == crowd[2].id


def test_many_tenants_at_their_limit_keep_nobody_waiting(redis: Redis, settings: Settings) -> None:
    """More than a claim reads at once; and some of whom an earlier version took every job."""
    store = JobStore(redis, settings.model_copy(update={"tenant_max_running": 1}))
    for number in range(60):
        store.create_all([new_record(f"busy-{number}") for _ in range(2)])
        claim(store)
    emptied, last = store.create(new_record("emptied")), store.create(new_record("last"))
    redis.zrem(redis_keys.QUEUED, emptied.id)
    waiting = redis_keys.WAITING_TENANTS_OF + "embedded"
    redis.zadd(waiting, {"emptied": 1_000, "last": 1_001})
    assert claim(store).id == last.id
    assert store.claim("worker-1", "embedded") is None
    assert redis.zscore(waiting, "emptied") is None
    assert redis.zcard(waiting) == 60


def test_a_claim_whose_answer_was_lost_takes_no_second_job(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends the command again: the same one."""
    post(store), post(store)
    monkeypatch.setattr("panoweave.core.jobs.store.secrets.token_hex", lambda _: "ab" * 16)
    assert claim(store) == claim(store)


def test_turns_are_topped_up_to_what_there_are_workers_for(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    queue.top_up()
    assert queue.tickets("embedded").count == 0
    for _ in range(5):
        post(store)
    queue.top_up()
    assert queue.tickets("embedded").count == 1  # for the worker that comes
    for name in "abc":
        publish_worker(redis, name, "embedded", "loading")
    queue.top_up()
    queue.top_up()
    assert queue.tickets("embedded").count == 3


def test_the_pace_is_that_of_the_last_successes_and_of_workers_that_are_ready(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    assert queue.estimate([]) == ({}, {})
    post(store)
    record = claim(store)
    time.sleep(0.05)
    succeed(store, record)
    run_s = store.get(record.id).run_ms / 1_000
    publish_worker(redis, "a", "embedded")
    publish_worker(redis, "b", "embedded")
    publish_worker(redis, "c", "embedded", "loading")
    publish_worker(redis, "d", "another")
    waiting = [post(store) for _ in range(3)]
    estimate = queue.estimate(waiting)
    assert run_s >= 0.05
    # Two begin at once, and the third when one of them has ended.
    etas_s = [estimate.etas_s[each.id] for each in waiting]
    assert etas_s == pytest.approx([run_s, run_s, 2 * run_s], abs=0.002)
    assert record.id not in estimate.etas_s


def test_a_job_waits_as_long_as_those_before_it_are_estimated_to_take(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    """Not as long as the last ones took, which were small."""
    small = post(store, estimate_s=0.1)
    succeed(store, claim(store))
    publish_worker(redis, "a", "embedded")
    waiting = [
        post(store, tenant, estimate_s)
        for tenant, estimate_s in (("ada", 100), ("ada", 10), ("bob", 7), ("ada", 1), ("bob", 3))
    ]
    begun = time.monotonic()
    running = claim(store)
    assert running.id == waiting[0].id
    ids = [record.id for record in waiting]
    # bob was never served: 7, then ada's 10, bob's 3, ada's 1.
    expected = {ids[2]: 107, ids[1]: 117, ids[4]: 120, ids[3]: 121}
    assert queue.estimate(waiting).etas_s == approx(expected, begun)
    assert running.token is not None
    begun = time.monotonic()
    store.report(running.id, running.token, progress(30))  # 20 s are left
    expected = {job_id: eta_s - 80 for job_id, eta_s in expected.items()}
    assert queue.estimate(waiting).etas_s == approx(expected, begun)
    assert small.id not in queue.estimate([small]).etas_s


def test_many_jobs_before_one_count_as_their_average(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    publish_worker(redis, "a", "embedded")
    waiting = [post(store, estimate_s=2) for _ in range(251)]
    etas_s = queue.estimate(waiting).etas_s
    assert etas_s[waiting[-1].id] == pytest.approx(502, abs=1)


def test_values_that_cannot_be_read_count_as_absent(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    """Such as those of a newer version: the other workers and jobs are estimated as before."""
    publish_worker(redis, "a", "embedded")
    waiting = [post(store, estimate_s=10) for _ in range(3)]
    begun = time.monotonic()
    running = claim(store)
    redis.hset(f"{redis_keys.JOB}{running.id}", "progress", "{")
    redis.hset(f"{redis_keys.JOB}{waiting[1].id}", "estimate_s", "soon")
    redis.lpush(f"{redis_keys.RUN_TIMES_OF}embedded", "soon", "4000")
    for name, value in (("b", "{"), ("c", "[]"), ("d", "7"), ("e", "null"), ("f", "\x80")):
        redis.sadd(redis_keys.WORKERS, f"worker-{name}")
        redis.set(f"{redis_keys.WORKER}worker-{name}", value)
    etas_s = queue.estimate(waiting).etas_s
    assert etas_s[waiting[2].id] == approx(24, begun)
