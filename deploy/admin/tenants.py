"""The Redis that the commands for operators use, and the names that tenants may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from redis import Redis

from panoweave.core.infra.api_keys import TenantName
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.local.data_dir import DataDir


@contextmanager
def redis_of(data: Path) -> Iterator[Redis]:
    """The Redis of the stack that runs on this data directory, else that of the settings."""
    home = DataDir(data)
    settings = read_settings(home.read_env() if home.running() else None)
    with connect(settings) as redis:
        try:
            yield redis
        except StoreUnavailable as error:
            raise DeployError(
                str(error), "start the stack (panoweave up), or set PANOWEAVE_REDIS_URL"
            ) from error


def address(redis: Redis) -> str:
    """Where a Redis is, without its password."""
    place = redis.connection_pool.connection_kwargs
    return str(place["path"]) if "path" in place else f"{place['host']}:{place['port']}"


def tenant_name(text: str) -> str:
    try:
        return TypeAdapter(TenantName).validate_python(text)
    except ValidationError as error:
        raise BadOption(
            f"--tenant: {text!r}; legal: up to 63 small letters, digits and hyphens"
        ) from error
