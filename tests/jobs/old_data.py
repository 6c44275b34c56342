"""Puts what version 0.1.0 stored (tests/jobs/data) into a Redis, as if it were stored just now."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis

from panoweave.core.infra import redis_keys

FOLDER: Final = Path(__file__).parent / "data"
_SCORED_BY_TIME: Final = {
    redis_keys.EXPIRY,
    redis_keys.LEASES,
    redis_keys.ORPHANS,
    redis_keys.OUTBOX,
    redis_keys.QUEUED,
}


@dataclass(frozen=True)
class OldData:
    jobs: dict[str, str]  # what became of a job -> its id
    api_token: str
    identity: str  # of the pipeline that saved the savepoint


def load_old_data(redis: Redis) -> OldData:
    dump = json.loads((FOLDER / "redis.json").read_text())
    later_ms = time.time_ns() // 1_000_000 - dump["dumped_at_ms"]
    for key, entry in dump["keys"].items():
        _restore(redis, key, entry["type"], entry["value"], later_ms)
        if ttl_ms := entry.get("ttl_ms"):
            redis.pexpire(key, ttl_ms)
    return OldData(dump["jobs"], dump["api_token"], dump["identity"])


def _restore(redis: Redis, key: str, kind: str, value: Any, later_ms: int) -> None:
    match kind:
        case "string":
            redis.set(key, _raw(value))
        case "hash":
            redis.hset(key, mapping={name: _raw(each) for name, each in value.items()})
        case "list":
            redis.rpush(key, *map(_raw, value))
        case "set":
            redis.sadd(key, *map(_raw, value))
        case "zset":
            shift = later_ms if key in _SCORED_BY_TIME else 0
            redis.zadd(key, {_raw(member): score + shift for member, score in value})
        case "stream":
            for event_id, fields in value:
                redis.xadd(key, {name: _raw(each) for name, each in fields.items()}, event_id)
        case _:
            raise AssertionError(f"{key} is a {kind}")


def _raw(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value["base64"])
