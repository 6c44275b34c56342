"""What all tests share. With pytest-xdist, every process has its own of everything here:

- a real Redis and a real S3 server, emptied for each test that asks for `redis` or `objects`
- a tiny checkpoint
- one thread for torch: several processes compute side by side
"""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from pydantic import SecretStr
from redis import Redis
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local import servers
from panoweave.deploy.local.servers import RedisServer, S3Server

# `make test-fast` has no torch; these import it.
if importlib.util.find_spec("torch") is None:
    collect_ignore = ["core", "deploy", "e2e", "embedded", "faults", "quality", "worker"]
    collect_ignore += [
        f"service/test_{name}.py"
        for name in ("contract", "generated_client", "panoramas", "reading_again")
    ]
    collect_ignore += ["service/client/test_typescript_in_a_browser.py"]  # Playwright

# Before torch is imported; the processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# Importing torch and diffusers makes a million objects and no garbage. Looking through them takes
# seconds: while they are imported, at each full collection, and at the interpreter's end.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--redis-server", type=Path, help="the server to test on, say Valkey's")


def pytest_configure(config: pytest.Config) -> None:
    if server := config.getoption("--redis-server"):
        servers.find_redis_server = lambda: server


# A busy machine is no bug: an example may take as long as it takes.
hypothesis.settings.register_profile("panoweave", deadline=None)
hypothesis.settings.load_profile("panoweave")

S3_ACCESS_KEY_ID = "test-key"
S3_SECRET_ACCESS_KEY = "test-secret"


# What shares something that takes seconds to start: one process of pytest-xdist runs all of it.
_STACK = "a running stack"
_TOGETHER = {
    _STACK: tuple(
        f"tests/deploy/{name}"
        for name in (
            *("examples/", "studio/test_page", "test_api_page", "test_demo", "test_doctor"),
            *("test_readme", "test_tutorial", "test_up"),
        )
    ),
    # From which these fork panoweave's processes, or ranks (see tests/processes.py).
    "a fork server": ("tests/faults/", "tests/deploy/test_operations", "tests/core/test_rank"),
    "a fork server too": ("tests/e2e/", "tests/worker/test_process", "tests/service/test_edge"),
}
# Most others wait, for processes or for time limits.
_COMPUTING = ("tests/core/", "tests/embedded/", "tests/quality/")
_LONGEST_FIRST = (
    *_TOGETHER,
    *("tests/service/test_contract", "tests/worker/test_webhook", "tests/worker/test_storage"),
    *("tests/deploy/", "tests/service/test_s3_hangs", "tests/worker/"),
    *("tests/core/test_resume", "tests/core/test_exactness", "tests/core/test_schedulers"),
)


def unit_of(nodeid: str) -> str:
    """What one process runs as a whole: a file, or files that share something."""
    for name, prefixes in _TOGETHER.items():
        if nodeid.startswith(prefixes):
            return name
    return nodeid.partition("::")[0]


def _rank(unit: str) -> int:
    return next((i for i, each in enumerate(_LONGEST_FIRST) if unit.startswith(each)), 99)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process is left alone with one; and those that compute evenly
    among those that wait, so that neither a core is idle nor all processes want one."""
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        unit = unit_of(item.nodeid)
        units.setdefault(unit, []).append(item)
        asks_for_stack = "stack" in getattr(item, "fixturenames", ())
        if asks_for_stack and unit != _STACK and item.get_closest_marker("slow") is None:
            raise pytest.UsageError(f"{item.nodeid}: name its file in _TOGETHER[_STACK]")
    ranked = sorted(units, key=_rank)
    computing = [unit for unit in ranked if unit.startswith(_COMPUTING)]
    waiting = [unit for unit in ranked if unit not in computing]
    place = {
        unit: (number + 0.5) / len(kind)
        for kind in (computing, waiting)
        for number, unit in enumerate(kind)
    }
    items[:] = [item for unit in sorted(units, key=place.__getitem__) for item in units[unit]]


class ByUnit(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)  # pytest may run without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByUnit:
    return ByUnit(config, log)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder / "data", folder / "logs") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    with S3Server(
        folder / "data",
        folder / "logs",
        bucket="panoweave",
        access_key_id=S3_ACCESS_KEY_ID,
        secret_access_key=S3_SECRET_ACCESS_KEY,
    ) as server:
        yield server
        server.child.kill()  # nobody reads this data again, and a clean end takes it seconds


@pytest.fixture(scope="session")
def settings(redis_server: RedisServer, s3_server: S3Server) -> Settings:
    """Settings for the test Redis and the test S3."""
    return Settings(
        redis_url=SecretStr(redis_server.url),
        s3_endpoint=s3_server.endpoint,
        s3_bucket=s3_server.bucket,
        s3_access_key_id=SecretStr(S3_ACCESS_KEY_ID),
        s3_secret_access_key=SecretStr(S3_SECRET_ACCESS_KEY),
        anonymous="loopback",
    )


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of the test Redis, emptied."""
    with connect(settings) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def object_store(settings: Settings) -> Iterator[ObjectStore]:
    with closing(ObjectStore(settings)) as store:
        yield store


@pytest.fixture
def objects(object_store: ObjectStore) -> ObjectStore:
    """The test bucket, emptied."""
    object_store.delete_prefix("")
    return object_store


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that a worker process can load."""
    from tests.core import tiny  # torch: not for the tests that need none

    folder = tmp_path_factory.mktemp("tiny-checkpoint")
    tiny.pipeline(folder / "tokenizer-files").save_pretrained(folder / "model")
    return folder / "model"
