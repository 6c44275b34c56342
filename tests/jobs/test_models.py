from __future__ import annotations

import time

import pytest
from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra import redis_keys
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.jobs.models import LIVENESS_S, ModelState, WorkerState
from tests.jobs.samples import TRAITS


def state(
    state: WorkerState,
    traits: CheckpointTraits | None = None,
    worker: str = "worker-1",
    model: str = "embedded",
) -> ModelState:
    return ModelState(
        model=model, state=state, traits=traits, perceptual="stlpips-alex", worker=worker
    )


def test_a_models_traits_are_known_once_a_worker_has_loaded_it(redis: Redis) -> None:
    with pytest.raises(ModelNotReady):
        models.traits(redis, "embedded")
    models.publish(redis, state("loading"))
    with pytest.raises(ModelNotReady):
        models.traits(redis, "embedded")
    models.publish(redis, state("ready", TRAITS))
    assert models.traits(redis, "embedded") == TRAITS


def test_traits_outlive_reloads_failures_and_workers(redis: Redis) -> None:
    models.publish(redis, state("ready", TRAITS))
    models.publish(redis, state("loading"))
    models.publish(redis, state("failed"))
    models.withdraw(redis, "worker-1")
    known = models.get(redis, "embedded")
    assert known is not None
    assert (known.state, known.traits) == ("failed", TRAITS)


def test_a_worker_counts_as_long_as_it_says_something(redis: Redis) -> None:
    models.publish(redis, state("ready", TRAITS, "worker-1"))
    models.publish(redis, state("loading", None, "worker-2"))
    assert [each.worker for each in models.live_workers(redis)] == ["worker-1", "worker-2"]
    assert 0 < int(redis.ttl(redis_keys.worker("worker-1"))) <= models.LIVENESS_S
    redis.delete(redis_keys.worker("worker-1"))  # as its time to live does
    assert [each.worker for each in models.live_workers(redis)] == ["worker-2"]
    models.withdraw(redis, "worker-2")
    assert models.live_workers(redis) == []


def test_every_model_is_listed_by_name(redis: Redis) -> None:
    models.publish(redis, state("ready", TRAITS, model="b/model"))
    models.publish(redis, state("loading", model="a/model"))
    assert [each.model for each in models.all(redis)] == ["a/model", "b/model"]


def test_workers_without_a_tiny_decoder_are_known_without_asking_all(redis: Redis) -> None:
    has = TRAITS.model_copy(update={"tiny_decoder": True})
    lacks = TRAITS.model_copy(update={"tiny_decoder": False})
    key = redis_keys.without_tiny_decoder("embedded")

    def lacking() -> list[str]:
        return [each.worker for each in models.live_without_tiny_decoder(redis, "embedded")]

    models.publish(redis, state("ready", has, "worker-1"))
    assert not redis.exists(key)  # all that is read, however many they are
    assert lacking() == []
    for name in ("worker-2", "worker-3", "worker-4"):
        models.publish(redis, state("ready", lacks, name))
    assert lacking() == ["worker-2", "worker-3", "worker-4"]
    models.withdraw(redis, "worker-2")
    models.publish(redis, state("ready", has, "worker-3"))
    assert lacking() == ["worker-4"]
    assert 0 < redis.ttl(key) <= LIVENESS_S


def test_the_list_of_workers_without_a_tiny_decoder_does_not_grow(redis: Redis) -> None:
    """Workers that died have been in it; each start has another name."""
    lacks = TRAITS.model_copy(update={"tiny_decoder": False})
    key = redis_keys.without_tiny_decoder("embedded")
    models.publish(redis, state("ready", lacks, "worker-1"))
    redis.zadd(key, {"worker-1": time.time() - 1})  # as it will be, once it does not publish
    models.publish(redis, state("ready", lacks, "worker-2"))
    assert redis.zrange(key, 0, -1) == [b"worker-2"]
