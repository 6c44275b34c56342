"""The Redis that the commands for operators use, and the names that tenants may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from redis import Redis
from redis.sentinel import SentinelConnectionPool

from panoweave.core.infra.api_keys import TenantName
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.local.data_dir import DataDir


def settings_of(data: Path) -> Settings:
    """Of the stack that runs on this data directory, else those of the environment."""
    home = DataDir(data)
    return read_settings(home.read_env() if home.running() else None)


@contextmanager
def redis_of(data: Path) -> Iterator[Redis]:
    """The Redis of the stack that runs on this data directory, else that of the settings."""
    with connect(settings_of(data)) as redis:
        try:
            yield redis
        except StoreUnavailable as error:
            raise DeployError(
                str(error), "start the stack (panoweave up), or set PANOWEAVE_REDIS_URL"
            ) from error


def address(redis: Redis) -> str:
    """Where a Redis is, without its password."""
    pool = redis.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"{pool.service_name} of its Sentinels"
    place = pool.connection_kwargs
    return str(place["path"]) if "path" in place else f"{place['host']}:{place['port']}"


def tenant_name(text: str) -> str:
    try:
        return TypeAdapter(TenantName).validate_python(text)
    except ValidationError as error:
        raise BadOption(
            f"--tenant: {text!r}; legal: up to 63 small letters, digits and hyphens"
        ) from error
