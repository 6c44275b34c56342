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


def register_script(redis: Redis, package: str | None, *names: str) -> Script:
    """The script in a package's files, one after the other. It finds the constants of redis_keys as
    `KEY.NAME`."""
    assert package is not None
    folder = resources.files(package)
    source = "".join(folder.joinpath(name).read_text() for name in names)
    return redis.register_script(f"{_HEADER}\n{source}")
