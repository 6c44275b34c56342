"""A job waits for the model that it was accepted for, and for no other."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import QueueFull, TenantQueueFull
from panoweave.core.jobs.queue import OLD_QUEUE, Queue
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.store import JobStore, LostJob
from tests.jobs.old_data import load_old_data
from tests.jobs.samples import FAILURE, new_record
from tests.jobs.steps import approx, claim, place, post, publish_worker, succeed

_BY_MODEL = (
    redis_keys.QUEUED_OF,
    redis_keys.WAITING_OF,
    redis_keys.WAITING_TENANTS_OF,
    redis_keys.LAST_SERVED_OF,
)


def forget_queues_by_model(redis: Redis) -> None:
    """As if an earlier version had written everything."""
    redis.delete(redis_keys.QUEUED_MODELS)
    for prefix in _BY_MODEL:
        for key in redis.scan_iter(f"{prefix}*"):
            redis.delete(key)


def start_as_before(redis: Redis, record: JobRecord) -> None:
    """As a worker of an earlier version starts a job: the keys by model stay as they are."""
    redis.zrem(redis_keys.QUEUED, record.id)
    redis.zrem(redis_keys.index(record.tenant, "queued"), record.id)
    redis.zrem(redis_keys.WAITING_TENANTS, record.tenant)
    redis.hset(redis_keys.job(record.id), "status", "running")


def test_a_worker_claims_jobs_of_its_model_alone(store: JobStore) -> None:
    first = post(store, model="forest")
    second = post(store, model="sea")
    assert store.claim("worker-1", "meadow") is None
    assert claim(store, "sea").id == second.id
    assert store.claim("worker-1", "sea") is None
    assert claim(store, "forest").id == first.id


def test_names_may_have_any_characters(store: JobStore, queue: Queue) -> None:
    """A tenant's key is not mistaken for another's: hub ids and paths have all kinds of signs."""
    names = ("a:b", "b", "org/name@v1:2", "/models/with space")
    posted = {name: post(store, tenant="a", model=name) for name in names}
    queue.top_up()
    for name, record in posted.items():
        assert queue.tickets(name).count == 1
        assert claim(store, name).id == record.id


@pytest.mark.parametrize("move", ["requeue", "expire", "retry"])
def test_a_job_that_comes_back_waits_for_its_model(
    store: JobStore, redis: Redis, move: str
) -> None:
    post(store, model="sea")
    record = claim(store, "sea")
    assert record.token is not None
    match move:
        case "requeue":
            store.requeue(record.id, record.token, "preempted")
        case "expire":
            redis.zadd(redis_keys.LEASES, {record.id: 0})
            store.expire_lost(LostJob(record.id, record.token))
        case "retry":
            store.retry(store.fail(record.id, record.token, FAILURE))
    assert store.claim("worker-1", "forest") is None
    assert claim(store, "sea").id == record.id


def test_tenants_take_turns_at_each_model(store: JobStore) -> None:
    """A tenant that one model has served much does not wait longer for another model."""
    for _ in range(3):
        post(store, "crowd", model="forest")
        assert claim(store, "forest").tenant == "crowd"
    post(store, "single", model="sea"), post(store, "single", model="sea")
    post(store, "crowd", model="sea")
    assert claim(store, "sea").tenant == "crowd"


def test_places_and_waits_count_one_model(store: JobStore, queue: Queue, redis: Redis) -> None:
    publish_worker(redis, "a", "sea")
    publish_worker(redis, "b", "forest")
    for _ in range(4):
        post(store, estimate_s=1000, model="forest")
    claim(store, "forest")
    running, waiting = (post(store, estimate_s=5, model="sea") for _ in range(2))
    begun = time.monotonic()
    assert claim(store, "sea").id == running.id
    behind = post(store, "other", estimate_s=3, model="sea")
    assert (place(queue, behind), place(queue, waiting)) == (0, 1)
    etas_s = queue.estimate([waiting, behind]).etas_s
    assert etas_s == approx({behind.id: 8, waiting.id: 13}, begun)


def test_run_times_of_one_model_say_nothing_of_another(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    publish_worker(redis, "a", "sea")
    post(store, model="forest")
    succeed(store, claim(store, "forest"))
    assert queue.estimate([post(store, model="sea")]).etas_s == {}


def test_each_model_has_tickets_for_its_own_workers(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    for name, model in (("a", "sea"), ("b", "sea"), ("c", "forest"), ("d", "meadow")):
        publish_worker(redis, name, model)
    for model in ("sea", "sea", "sea", "forest", "desert"):
        post(store, model=model)
    queue.top_up()
    names = ("sea", "forest", "meadow", "desert")
    assert [queue.tickets(name).count for name in names] == [2, 1, 0, 1]
    assert queue.waiting() == [("desert", 1, 0), ("forest", 1, 1), ("sea", 3, 2)]


def test_jobs_that_wait_for_one_model_do_not_fill_the_queue_of_another(
    redis: Redis, settings: Settings
) -> None:
    limits = {"max_queued": 2, "tenant_max_queued": 1}
    store = JobStore(redis, settings.model_copy(update=limits))
    post(store, "ada", model="sea")
    with pytest.raises(TenantQueueFull):
        post(store, "ada", model="sea")
    post(store, "bob", model="sea")
    with pytest.raises(QueueFull):
        post(store, "cid", model="sea")
    post(store, "ada", model="forest")


def test_what_earlier_versions_queued_is_claimed_by_its_own_model(
    redis: Redis, settings: Settings
) -> None:
    """Version 0.1.0's data: its records name their model, its queue does not."""
    old, store, queue = load_old_data(redis), JobStore(redis, settings), Queue(redis)
    redis.hset(redis_keys.job(old.jobs["preempted"]), "model", "another")
    assert store.claim("worker-1", "third") is None
    queue.top_up()
    assert queue.tickets("another").count == 1
    assert claim(store, "embedded").id == old.jobs["queued"]
    assert store.claim("worker-1", "embedded") is None
    assert claim(store, "another").id == old.jobs["preempted"]


def test_jobs_of_an_earlier_version_are_placed_before_anything_claims(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    first, second = post(store, model="sea"), post(store, model="sea")
    forget_queues_by_model(redis)
    assert queue.estimate([first, second]).places == {first.id: 0, second.id: 1}


def test_a_job_that_an_earlier_versions_worker_started_is_not_started_again(
    store: JobStore, redis: Redis
) -> None:
    first, second = post(store, model="sea"), post(store, model="sea")
    start_as_before(redis, first)
    assert claim(store, "sea").id == second.id
    assert store.claim("worker-1", "sea") is None


def test_the_janitor_compares_the_queues_job_by_job(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    """One job started and another accepted by an earlier version: the counts agree, by chance."""
    started = post(store, model="forest")
    accepted = post(store, "ada", model="sea")
    forget_queues_by_model(redis)
    redis.zadd(redis_keys.QUEUED_OF + "forest", {started.id: 1})
    redis.zadd(redis_keys.WAITING_OF + "default:forest", {started.id: 0})
    redis.zadd(redis_keys.WAITING_TENANTS_OF + "forest", {"default": 0})
    redis.sadd(redis_keys.QUEUED_MODELS, "forest")
    start_as_before(redis, started)
    queue.compare()
    assert queue.waiting() == [("sea", 1, 0)]
    assert claim(store, "sea").id == accepted.id


def test_workers_of_an_earlier_version_still_get_tickets(
    store: JobStore, queue: Queue, redis: Redis
) -> None:
    """They listen to one queue for all models. While none lives, nothing is put there."""
    post(store)
    queue.top_up()
    assert redis.llen(f"rq:queue:{OLD_QUEUE}") == 0
    redis.sadd(f"rq:workers:{OLD_QUEUE}", "rq:worker:old-1")
    queue.top_up()
    queue.top_up()
    assert redis.llen(f"rq:queue:{OLD_QUEUE}") == 1


def test_nothing_is_left_of_a_queue_that_is_empty(store: JobStore, redis: Redis) -> None:
    record = store.create(new_record())
    assert store.request_cancel(record.id).status is Status.CANCELLED
    assert not redis.exists(redis_keys.QUEUED_MODELS)
    assert list(redis.scan_iter(f"{redis_keys.QUEUED_OF}*")) == []
    assert list(redis.scan_iter(f"{redis_keys.WAITING_OF}*")) == []
    assert list(redis.scan_iter(f"{redis_keys.WAITING_TENANTS_OF}*")) == []
