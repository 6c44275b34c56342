"""How fast the workers of each model are, as they measure it, for estimates of what waits."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from redis import Redis

from panoweave.core.estimate import Speeds
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors


def publish(redis: Redis, model: str, speeds: Speeds) -> None:
    """The worker that publishes last counts for all of the model."""
    with translate_redis_errors():
        redis.hset(redis_keys.SPEEDS, model, speeds.model_dump_json(exclude_none=True))


def read(redis: Redis, model: str) -> Speeds:
    """Empty if no worker has measured anything yet."""
    with translate_redis_errors():
        text: Any = redis.hget(redis_keys.SPEEDS, model)
    try:
        return Speeds.model_validate_json(text or "{}")
    except ValidationError:  # of another version: an estimate is not worth an error
        return Speeds()
