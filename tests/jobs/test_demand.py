"""How much work there is for a model, and how many workers that is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.jobs import demand
from panoweave.core.jobs.demand import Demand
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record, progress
from tests.jobs.steps import claim, post, publish_worker, succeed

NOTHING = Demand(queued=0, running=0, gpu_s=0, unestimated=0, workers=0, is_wanted=False)


def test_a_model_that_never_had_a_worker(store: JobStore, queue: Queue) -> None:
    assert queue.demand("sea") == NOTHING
    post(store, model="sea", estimate_s=30)
    assert queue.demand("sea") == NOTHING._replace(queued=1, gpu_s=30)
    assert queue.demand("forest") == NOTHING


def test_queued_and_the_rest_of_running_jobs_of_the_model(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    publish_worker(redis, "a", "sea")
    publish_worker(redis, "b", "forest")
    for estimate_s, tenant in ((30, "ada"), (20, "ada"), (8, "bob")):
        post(store, tenant, estimate_s=estimate_s, model="sea")
    post(store, estimate_s=1_000, model="forest")
    claim(store, "forest")
    running = claim(store, "sea")  # of 30 s
    assert running.token is not None
    store.report(running.id, running.token, progress(48))  # 2 s left
    assert queue.demand("sea") == Demand(
        queued=2, running=1, gpu_s=30, unestimated=0, workers=1, is_wanted=False
    )


def test_jobs_that_nobody_can_estimate_are_counted_apart(store: JobStore, queue: Queue) -> None:
    post(store, model="sea")
    claim(store, "sea")
    for estimate_s in (None, 30, None):
        post(store, model="sea", estimate_s=estimate_s)
    found = queue.demand("sea")
    assert (found.queued, found.running, found.gpu_s, found.unestimated) == (3, 1, 30, 3)


def test_without_an_estimate_a_job_takes_what_the_last_ones_took(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    redis.rpush(redis_keys.RUN_TIMES_OF + "sea", 4_000, 6_000, 50_000)
    post(store, model="sea"), post(store, model="sea", estimate_s=30)
    found = queue.demand("sea")
    assert (found.gpu_s, found.unestimated) == (36, 0)


def test_of_many_jobs_of_a_tenant_the_first_stand_for_the_rest(
    store: JobStore, queue: Queue
) -> None:
    """Reading all of a long queue would hold Redis up."""
    for number in range(510):
        estimate_s = 3.0 if number < 500 else 50.0
        store.create(new_record().model_copy(update={"model": "sea", "estimate_s": estimate_s}))
    post(store, "ada", model="sea", estimate_s=7)
    found = queue.demand("sea")
    assert (found.queued, found.gpu_s) == (511, 1_537)


def test_a_model_is_wanted_for_a_while(queue: Queue, redis: Redis) -> None:
    demand.note_wanted(redis, "org/sea@v1")
    assert queue.demand("org/sea@v1") == NOTHING._replace(is_wanted=True)
    assert not queue.demand("sea").is_wanted
    assert 800 < redis.ttl(redis_keys.wanted("org/sea@v1")) <= 900


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (NOTHING, 0),
        (NOTHING._replace(is_wanted=True), 1),
        (NOTHING._replace(queued=1, gpu_s=5), 1),
        (NOTHING._replace(queued=5, gpu_s=60), 1),
        (NOTHING._replace(queued=5, gpu_s=60.1), 2),
        (NOTHING._replace(queued=5, gpu_s=3_000), 5),  # one job is no work for two workers
        (NOTHING._replace(running=3, gpu_s=1), 3),  # none is taken from its job
        (NOTHING._replace(queued=9, gpu_s=61, unestimated=4), 6),
        (NOTHING._replace(queued=2, unestimated=2, is_wanted=True), 2),
    ],
)
def test_workers_for_the_work(found: Demand, expected: int) -> None:
    assert found.workers_wanted(60) == expected


@given(
    found=st.builds(
        Demand,
        queued=st.integers(0, 500),
        running=st.integers(0, 50),
        gpu_s=st.floats(0, 1e6),
        unestimated=st.integers(0, 50),
        workers=st.just(0),
        is_wanted=st.booleans(),
    ),
    seconds=st.floats(1, 1e4),
)
def test_more_work_never_means_fewer_workers(found: Demand, seconds: float) -> None:
    wanted = found.workers_wanted(seconds)
    more = found._replace(queued=found.queued + 1, gpu_s=found.gpu_s + seconds)
    assert 1 <= more.workers_wanted(seconds) >= wanted
    assert found.running <= wanted <= max(1, found.queued + found.running)
    assert math.isfinite(wanted)


def test_a_job_that_ends_leaves_no_work(store: JobStore, queue: Queue) -> None:
    post(store, model="sea", estimate_s=30)
    succeed(store, claim(store, "sea"))
    assert queue.demand("sea") == NOTHING
