"""Lua scripts that know the names of Redis keys."""

from __future__ import annotations

import json
from importlib import resources
from typing import Final

from redis import Redis
from redis.commands.core import Script

from panoweave.core.infra import redis_keys

_NAMES: Final = {
    name: value
    for name, value in vars(redis_keys).items()
    if name.isupper() and isinstance(value, str)
}
# One line, so that Redis names the lines of the file in its errors but for this one.
_HEADER: Final = (
    "local KEY = {" + ", ".join(f"{name} = {json.dumps(key)}" for name, key in _NAMES.items()) + "}"
)


def register_script(redis: Redis, package: str | None, name: str) -> Script:
    """The script in a package's file. It finds the constants of redis_keys as `KEY.NAME`."""
    assert package is not None
    source = resources.files(package).joinpath(name).read_text()
    return redis.register_script(f"{_HEADER}\n{source}")
