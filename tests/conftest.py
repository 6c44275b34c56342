"""A real Redis and a real S3 server, started once a test session and emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import hypothesis
import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.servers import RedisServer, S3Server

# A busy machine is no bug: an example may take as long as it takes.
hypothesis.settings.register_profile("panoweave", deadline=None)
hypothesis.settings.load_profile("panoweave")

S3_ACCESS_KEY_ID = "test-key"
S3_SECRET_ACCESS_KEY = "test-secret"


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


@pytest.fixture(scope="session")
def settings(redis_server: RedisServer, s3_server: S3Server) -> Settings:
    """Settings for the test Redis and the test S3."""
    return Settings(
        redis_url=SecretStr(redis_server.url),
        s3_endpoint=s3_server.endpoint,
        s3_bucket=s3_server.bucket,
        s3_access_key_id=SecretStr(S3_ACCESS_KEY_ID),
        s3_secret_access_key=SecretStr(S3_SECRET_ACCESS_KEY),
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
