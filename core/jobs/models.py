"""The models and workers there are, as the workers publish them.

A model's published state is kept; a worker counts as alive for `LIVENESS_S` after it has published.
What a model makes that no worker has loaded yet is read from its files: core/model_files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from redis import Redis
from redis.client import Pipeline

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.stored import KeepUnknown, read_all
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.machine import PerceptualName

log = logging.getLogger(__name__)

LIVENESS_S = 30  # a worker publishes three times within this, busy or idle

WorkerState = Literal["loading", "ready", "failed"]
StoredWorkerState = Annotated[WorkerState, KeepUnknown()]
StoredPerceptualName = Annotated[PerceptualName, KeepUnknown()]


def _readable_traits(
    stored: Any, validate: ValidatorFunctionWrapHandler
) -> CheckpointTraits | None:
    """Without the defaults that this version does not know; None if it cannot read the traits: a
    request cannot be resolved by a part of them."""
    if isinstance(stored, dict) and isinstance(defaults := stored.get("defaults"), dict):
        known = CheckpointDefaults.model_fields.keys() & defaults.keys()
        stored = {**stored, "defaults": {name: defaults[name] for name in known}}
    try:
        traits: CheckpointTraits | None = validate(stored)
    except ValidationError as error:
        log.warning("traits are not read: %d errors", error.error_count())
        return None
    return traits


class ModelState(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer worker may publish more

    model: str
    state: StoredWorkerState
    detail: str = ""
    traits: Annotated[CheckpointTraits | None, WrapValidator(_readable_traits)] = Field(
        None, description="Known from the first load on."
    )
    perceptual: StoredPerceptualName
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
        _note_tiny_decoder(pipeline, state)
        pipeline.execute()


def _note_tiny_decoder(pipeline: Pipeline, state: ModelState) -> None:
    key, now = redis_keys.without_tiny_decoder(state.model), time.time()
    pipeline.zremrangebyscore(key, "-inf", now)  # those that no longer publish
    if state.traits and not state.traits.tiny_decoder:
        pipeline.zadd(key, {state.worker: now + LIVENESS_S})
        pipeline.expire(key, LIVENESS_S)
    else:
        pipeline.zrem(key, state.worker)


def withdraw(redis: Redis, worker: str) -> None:
    """Publish that a worker ends."""
    with translate_redis_errors():
        redis.delete(redis_keys.worker(worker))
        redis.srem(redis_keys.WORKERS, worker)


def get(redis: Redis, model: str) -> ModelState | None:
    with translate_redis_errors():
        text: Any = redis.hget(redis_keys.MODELS, model)
    return next(iter(read_all(ModelState, [text] if text else [])), None)


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
    return sorted(read_all(ModelState, texts), key=lambda state: state.model)


def live_workers(redis: Redis) -> list[ModelState]:
    """The last published state of each worker that lives."""
    with translate_redis_errors():
        names: Any = redis.smembers(redis_keys.WORKERS)
        texts = _states(redis, names)
    if dead := [name for name, text in texts.items() if text is None]:
        with suppress(StoreUnavailable), translate_redis_errors():  # a full Redis answers reads
            redis.srem(redis_keys.WORKERS, *dead)
    return read_all(ModelState, (text for text in texts.values() if text is not None))


def live_without_tiny_decoder(redis: Redis, model: str) -> list[ModelState]:
    """Those of a model whose last state has no tiny decoder. Mostly none, so it costs little where
    `live_workers` would read a thousand."""
    with translate_redis_errors():
        names: Any = redis.zrange(redis_keys.without_tiny_decoder(model), 0, -1)
        texts = _states(redis, names)
    live = read_all(ModelState, (text for text in texts.values() if text is not None))
    return [
        state
        for state in live
        if state.model == model and state.traits and not state.traits.tiny_decoder
    ]


def _states(redis: Redis, names: Iterable[bytes]) -> dict[str, bytes | None]:
    """What each of these workers published last, in order; None of one that no longer lives."""
    ordered = sorted(name.decode() for name in names)
    if not ordered:
        return {}
    texts: Any = redis.mget([redis_keys.worker(name) for name in ordered])
    return dict(zip(ordered, texts, strict=True))
