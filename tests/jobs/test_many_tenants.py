"""Where many tenants wait, their panoramas are counted once a second, not at each estimate."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.jobs.steps import claim, place, publish_worker, succeed

TENANTS = 100
COUNTED = "panoweave:tenants_counted_of:embedded"
RANKED = "panoweave:tenants_ranked_of:embedded"
TAKES_S = 10.0


def post_all(store: JobStore, most: int = 3, takes_s: float | None = TAKES_S) -> list[JobRecord]:
    posted: list[JobRecord] = []
    chance = random.Random(5)
    for number in chance.sample(range(TENANTS), TENANTS):
        new = [
            new_record(f"tenant-{number}").model_copy(update={"estimate_s": takes_s})
            for _ in range(chance.randrange(most) + 1)
        ]
        posted += store.create_all(new)
    return posted


def commands(redis: Redis) -> int:
    """How many commands scripts and clients have sent so far."""
    stats: Any = redis.info("commandstats")
    return sum(int(each["calls"]) for each in stats.values())


def test_places_of_many_tenants_are_those_in_which_jobs_are_taken(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    publish_worker(redis, "a", "embedded")
    posted = post_all(store)
    ended = set()
    for _ in range(150):  # some tenants have been served once, some twice
        record = claim(store)
        succeed(store, record)
        ended.add(record.id)
    waiting = [each for each in posted if each.id not in ended] + post_all(store)
    redis.delete(COUNTED)  # as a second later
    estimate = queue.estimate(waiting)
    assert redis.exists(COUNTED)
    etas_s = {each.id: (estimate.places[each.id] + 1) * TAKES_S for each in waiting}
    assert estimate.etas_s == pytest.approx(etas_s, abs=0.1)
    assert [place(queue, each) for each in waiting] == [
        estimate.places[each.id] for each in waiting
    ]
    in_order = sorted(estimate.places, key=estimate.places.__getitem__)
    assert [claim(store).id for _ in waiting] == in_order


def test_an_estimate_takes_as_many_commands_with_more_tenants(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    waiting = post_all(store)
    queue.estimate(waiting[-1:])
    assert 0 < redis.pttl(COUNTED) <= 1_000
    redis.persist(COUNTED)  # however slow this machine is
    before = commands(redis)
    queue.estimate(waiting[-1:])
    assert commands(redis) - before < 20


def test_a_tenants_first_panorama_has_the_place_of_this_moment(
    store: JobStore, queue: Queue
) -> None:
    waiting = post_all(store, most=1)
    places = queue.estimate(waiting).places
    for _ in range(30):
        claim(store)
    left = [each for each in waiting if places[each.id] >= 30]
    assert queue.estimate(left).places == {each.id: places[each.id] - 30 for each in left}
    newcomer, second = store.create_all([new_record("newcomer") for _ in range(2)])
    first, then = sorted(queue.estimate([newcomer, second]).places.values())
    assert first == 0 < then


def test_with_an_old_count_no_place_grows_while_others_are_served(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    for number in range(TENANTS):
        store.create_all([new_record(f"tenant-{number}") for _ in range(3)])
    for _ in range(40):  # so that the next tenant is in the middle
        claim(store)
    many = store.create_all([new_record("tenant-60") for _ in range(50)])
    places = queue.estimate(many).places
    redis.persist(COUNTED)  # however slow this machine is
    redis.persist(RANKED)
    for _ in range(TENANTS + 20):  # each tenant once, and it again
        claim(store)
        now = queue.estimate([each for each in many if places[each.id] >= 0]).places
        assert all(0 <= now[id] <= places[id] for id in now if now[id] >= 0)
        places = {**places, **now}


def test_the_work_of_many_tenants_is_all_counted(store: JobStore, queue: Queue) -> None:
    waiting = post_all(store)
    demand = queue.demand("embedded")
    assert (demand.queued, demand.gpu_s) == (len(waiting), len(waiting) * TAKES_S)
    claim(store)
    assert queue.demand("embedded").queued == len(waiting) - 1


def test_without_a_known_time_many_tenants_have_places_alone(store: JobStore, queue: Queue) -> None:
    waiting = post_all(store, takes_s=None)
    places, etas_s = queue.estimate(waiting)
    assert sorted(places.values()) == list(range(len(waiting)))
    assert etas_s == {}
    assert queue.demand("embedded").unestimated == len(waiting)


def test_a_full_redis_still_answers_with_many_tenants(redis: Redis, settings: Settings) -> None:
    store, queue = JobStore(redis, settings), Queue(redis)
    waiting = post_all(store)
    redis.config_set("maxmemory", 1)
    try:
        assert len(queue.estimate(waiting).places) == len(waiting)
        assert not redis.exists(COUNTED)
    finally:
        redis.config_set("maxmemory", 0)
