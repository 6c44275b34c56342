"""Which models there are, told by the workers that hold them.

The API resolves sizes without torch: a model's traits come only from here. What was published
of a model stays; which workers live is known for `LIVENESS_S` after each one's last word.
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

LIVENESS_S = 30  # a worker publishes again well within this, busy or idle

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
    """Say what a worker's model is doing, and that the worker lives. A state without traits
    (a reload, a failure) leaves the known one standing."""
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
    """Say that a worker leaves."""
    with translate_redis_errors():
        redis.delete(redis_keys.worker(worker))
        redis.srem(redis_keys.WORKERS, worker)


def get(redis: Redis, model: str) -> ModelState | None:
    with translate_redis_errors():
        text: Any = redis.hget(redis_keys.MODELS, model)
    return ModelState.model_validate_json(text) if text else None


def traits(redis: Redis, model: str) -> CheckpointTraits:
    """Raises `ModelNotReady` before any worker has loaded the model."""
    state = get(redis, model)
    if state is None or state.traits is None:
        raise ModelNotReady(model)
    return state.traits


def all(redis: Redis) -> list[ModelState]:
    """What was last published of each model, by name."""
    with translate_redis_errors():
        texts: Any = redis.hvals(redis_keys.MODELS)
    states = [ModelState.model_validate_json(text) for text in texts]
    return sorted(states, key=lambda state: state.model)


def live_workers(redis: Redis) -> list[ModelState]:
    """The last word of each worker that lives."""
    with translate_redis_errors():
        names: Any = redis.smembers(redis_keys.WORKERS)
        if not names:
            return []
        ordered = sorted(name.decode() for name in names)
        texts: Any = redis.mget([redis_keys.worker(name) for name in ordered])
        if dead := [name for name, text in zip(ordered, texts, strict=True) if text is None]:
            redis.srem(redis_keys.WORKERS, *dead)
    return [ModelState.model_validate_json(text) for text in texts if text is not None]
