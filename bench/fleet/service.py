"""A Redis, four API processes behind no proxy, a thousand tenants, and jobs that wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import SecretStr
from redis import Redis

from bench.fleet.backlog import tenant
from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.ports import LOOPBACK, free_port
from panoweave.deploy.local.servers import RedisServer

APIS: Final = 4
_ANY_NUMBER: Final = 10_000_000
_READY_S: Final = 300


@dataclass(frozen=True)
class Fleet:
    settings: Settings
    redis: Redis
    apis: Sequence[str]  # their URLs
    tokens: Sequence[str]  # a key of each tenant

    def info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self.redis.info(section)
        return found

    def served(self) -> int:
        """How many jobs have been claimed so far."""
        return int(self.redis.get(redis_keys.SERVED_COUNT) or 0)


@contextmanager
def fleet(folder: Path, tenants: int) -> Iterator[Fleet]:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(folder / "redis", folder / "logs"))
        settings = Settings(
            redis_url=SecretStr(server.url),
            max_queued=_ANY_NUMBER,
            tenant_max_queued=_ANY_NUMBER,
            tenant_max_bytes=2**40,
        )
        redis = stack.enter_context(connect(settings, timeout_s=30))
        redis.config_set("maxmemory", 0)
        keys = ApiKeys(redis)
        tokens = [keys.create(tenant(number), ("write",))[1] for number in range(tenants)]
        logs = [folder / f"api-{number}.log" for number in range(APIS)]
        apis = [stack.enter_context(_started(server.url, log)) for log in logs]
        for each in apis:
            _wait_until_ready(each)
        yield Fleet(settings, redis, [each.url for each in apis], tokens)


@dataclass(frozen=True)
class _Api:
    process: subprocess.Popen[bytes]
    url: str
    log: Path


@contextmanager
def _started(redis_url: str, log: Path) -> Iterator[_Api]:
    port = free_port()
    environment = os.environ | {
        "PANOWEAVE_REDIS_URL": redis_url,
        "PANOWEAVE_PORT": str(port),
        "PANOWEAVE_MAX_QUEUED": str(_ANY_NUMBER),
        "PANOWEAVE_TENANT_MAX_QUEUED": str(_ANY_NUMBER),
        "PANOWEAVE_LOG_LEVEL": "ERROR",
        "PANOWEAVE_S3_ACCESS_KEY_ID": "unused",
        "PANOWEAVE_S3_SECRET_ACCESS_KEY": "unused",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "panoweave.deploy.cli", "api"],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield _Api(process, f"http://{LOOPBACK}:{port}", log)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(api: _Api) -> None:
    deadline = time.monotonic() + _READY_S
    while not _is_ready(api.url):
        if api.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the API did not start: {api.log.read_text()}")
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False
