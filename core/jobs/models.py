"""The models and workers there are, as the workers publish them.

The API has no torch, and knows a model's traits only from here. A model's published state is kept;
a worker counts as alive for `LIVENESS_S` after it has published.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.machine import PerceptualName

LIVENESS_S = 30  # a worker publishes three times within this, busy or idle

WorkerState = Literal["loading", "ready", "failed"]


class ModelState(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    state: WorkerState
    detail: str = ""
    traits: CheckpointTraits | None = Field(None, description="Known from the first load on.")
    perceptual: PerceptualName
    worker: str
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def publish(redis: Redis, state: ModelState) -> None:
    """Publish the state of a worker's model, and that the worker lives. A state without traits
    (while it loads, or after a failure) keeps those that are known."""
    with translate_redis_errors():
        if state.traits is None:
            known = get(redis, state.model)
            state = state.model_copy(update={"traits": known.traits if known else None})
        text = state.model_dump_json()
        pipeline = redis.pipeline()
        pipeline.hset(redis_keys.MODELS, state.model, text)
        pipeline.sadd(redis_keys.WORKERS, state.worker)
        pipeline.set(redis_keys.worker(state.worker), text, ex=LIVENESS_S)
        pipeline.execute()


def withdraw(redis: Redis, worker: str) -> None:
    """Publish that a worker ends."""
    with translate_redis_errors():
        redis.delete(redis_keys.worker(worker))
        redis.srem(redis_keys.WORKERS, worker)


def get(redis: Redis, model: str) -> ModelState | None:
    with translate_redis_errors():
        text: Any = redis.hget(redis_keys.MODELS, model)
    return ModelState.model_validate_json(text) if text else None


def traits(redis: Redis, model: str) -> CheckpointTraits:
    """Raises ModelNotReady before any worker has loaded the model."""
    state = get(redis, model)
    if state is None or state.traits is None:
        raise ModelNotReady(model)
    return state.traits


def all(redis: Redis) -> list[ModelState]:
    """The last published state of each model, by name."""
    with translate_redis_errors():
        texts: Any = redis.hvals(redis_keys.MODELS)
    states = [ModelState.model_validate_json(text) for text in texts]
    return sorted(states, key=lambda state: state.model)


def live_workers(redis: Redis) -> list[ModelState]:
    """The last published state of each worker that lives."""
    with translate_redis_errors():
        names: Any = redis.smembers(redis_keys.WORKERS)
        if not names:
            return []
        ordered = sorted(name.decode() for name in names)
        texts: Any = redis.mget([redis_keys.worker(name) for name in ordered])
        if dead := [name for name, text in zip(ordered, texts, strict=True) if text is None]:
            redis.srem(redis_keys.WORKERS, *dead)
    return [ModelState.model_validate_json(text) for text in texts if text is not None]
