from __future__ import annotations

import pytest
from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra import redis_keys
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.jobs.models import ModelState, WorkerState
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
