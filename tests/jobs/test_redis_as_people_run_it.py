"""TLS with client certificates, ACL users, Sentinels, many connections at once; no clusters."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from os import kill
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from panoweave.core.infra.errors import RedisIsCluster, StoreUnavailable
from panoweave.core.infra.redis import connect, connect_async, refuse_cluster
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.doctor.checks import check_redis
from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import RedisServer
from panoweave.service.panoramas.subscriptions import open_subscriptions
from tests.jobs.samples import new_record
from tests.processes import wait_until
from tests.redis_servers import (
    ACL_RULES,
    Certificates,
    ConfiguredRedis,
    Replicated,
    replicated,
    terminating_tls,
    write_certificates,
)


def works(settings: Settings) -> None:
    """A job passes through all of its states, with a client of each kind."""

    async def ping() -> None:
        async with connect_async(settings) as redis:
            assert await redis.ping()

    with connect(settings) as redis:
        store, queue = JobStore(redis, settings), Queue(redis)
        record = new_record().model_copy(update={"model": f"model-{secrets.token_hex(3)}"})
        job_id = store.create(record).id
        queue.top_up()
        claimed = store.claim("worker-1", record.model)
        assert claimed is not None
        assert claimed.id == job_id
        assert claimed.token is not None
        store.cancelled(job_id, claimed.token)
        assert store.get(job_id).status is Status.CANCELLED
        assert queue.tickets(record.model).count == 1
    asyncio.run(ping())


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return write_certificates(tmp_path / "certificates")


def tls_settings(port: int, certificates: Certificates, **changes: object) -> Settings:
    values: dict[str, object] = {
        "redis_url": f"rediss://127.0.0.1:{port}/0",
        "redis_ca": certificates.ca,
        "redis_certificate": certificates.client,
        "redis_private_key": certificates.client_key,
    }
    return Settings.model_validate(values | changes)


def test_tls_with_a_client_certificate(
    redis: Redis, redis_server: RedisServer, certificates: Certificates
) -> None:
    assert redis.dbsize() == 0
    with terminating_tls(redis_server.port, certificates) as port:
        works(tls_settings(port, certificates))

        without = {"redis_certificate": None, "redis_private_key": None}
        for refused in (
            tls_settings(port, certificates, **without),
            tls_settings(port, certificates, redis_ca=None),  # the system knows no such authority
        ):
            with connect(refused) as client, pytest.raises(RedisConnectionError):
                client.ping()
            (check,) = check_redis(refused)
            assert check.level == "fail"
            assert "PANOWEAVE_REDIS_CA" in check.remedy


def test_a_user_without_administration_is_enough(redis: Redis, redis_server: RedisServer) -> None:
    rules = ("on", ">secret", *ACL_RULES.split())
    redis.execute_command("ACL", "SETUSER", "panoweave", *rules)  # type: ignore[no-untyped-call]
    try:
        url = f"redis://panoweave:secret@127.0.0.1:{redis_server.port}/0"
        works(Settings(redis_url=SecretStr(url)))
        wrong = Settings(redis_url=SecretStr(url.replace("secret", "wrong")))
        with connect(wrong) as client, pytest.raises(AuthenticationError):
            client.ping()
    finally:
        redis.acl_deluser("panoweave")


def test_a_cluster_is_refused(tmp_path: Path) -> None:
    lines = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "save": '""'}
    with ConfiguredRedis(tmp_path, "cluster", lines) as server:
        settings = Settings(redis_url=SecretStr(server.url))
        with connect(settings) as redis:
            with pytest.raises(RedisIsCluster, match="PANOWEAVE_REDIS_URL names a Redis Cluster"):
                refuse_cluster(redis)
            with pytest.raises(RedisIsCluster):  # if INFO is not allowed
                JobStore(redis, settings).create(new_record())
            redis.execute_command("CLUSTER", "ADDSLOTS", *range(8192))
            with pytest.raises(StoreUnavailable):
                JobStore(redis, settings).get("pano_1")
        (check,) = check_redis(settings)
        assert check.level == "fail"
        assert "without cluster mode" in check.remedy


def test_a_primary_without_replicas_refuses_jobs(redis: Redis, settings: Settings) -> None:
    """As `min-replicas-to-write` has it, once a primary is cut off."""
    redis.config_set("min-replicas-to-write", 1)
    try:
        store = JobStore(redis, settings)
        with pytest.raises(StoreUnavailable):
            store.create(new_record())
        with pytest.raises(StoreUnavailable):
            store.check()
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert redis.dbsize() == 0


def test_all_connections_are_lost_at_once_and_too_many_come_back(
    redis: Redis, settings: Settings
) -> None:
    """Nobody sees more than StoreUnavailable, and everybody is served in the end."""
    most = str(redis.config_get("maxclients")["maxclients"])
    failures: list[BaseException] = []
    served = threading.Semaphore(0)

    def client_of_a_storm() -> None:
        with connect(settings) as client:
            store = JobStore(client, settings)
            for _ in range(200):
                try:
                    store.counts()
                except StoreUnavailable:
                    time.sleep(0.01)
                except BaseException as error:
                    failures.append(error)
                    return
                else:
                    served.release()
                    return

    redis.config_set("maxclients", 20)
    threads = [threading.Thread(target=client_of_a_storm) for _ in range(100)]
    try:
        for thread in threads:
            thread.start()
        redis.client_kill_filter(_type="normal", skipme=True)
        for thread in threads:
            thread.join()
    finally:
        redis.config_set("maxclients", most)
    assert not failures
    assert sum(served.acquire(blocking=False) for _ in threads) == 100


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"REDIS_SENTINELS": "10.0.0.1:port"}, "its host or port is not legal"),
        ({"REDIS_SENTINELS": "user@10.0.0.1"}, "must be host:port"),
        ({"REDIS_SENTINELS": " , "}, "must be host:port"),
        ({"REDIS_SENTINELS": "10.0.0.1", "REDIS_URL": "redis://main:6379"}, "without a port"),
        ({"REDIS_SENTINELS": "10.0.0.1", "REDIS_URL": "unix:///run/redis"}, "must be redis:// or"),
        ({"REDIS_SENTINEL_PASSWORD": "x"}, "need PANOWEAVE_REDIS_SENTINELS"),
        ({"REDIS_CA": __file__}, "must begin with rediss://"),
        ({"REDIS_CA": "/missing.pem"}, "redis_ca"),
        ({"REDIS_URL": "rediss://r", "REDIS_CERTIFICATE": __file__}, "go together"),
    ],
)
def test_settings_that_are_not_legal(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    monkeypatch.setenv("PANOWEAVE_REDIS_URL", "redis://main/0")
    for name, value in variables.items():
        monkeypatch.setenv(f"PANOWEAVE_{name}", value)
    with pytest.raises(ValueError, match=named):
        Settings()


def test_sentinels_that_are_away_are_named() -> None:
    settings = Settings(
        redis_url=SecretStr("redis://main/0"), redis_sentinels=f"127.0.0.1:{free_port()}"
    )
    with connect(settings) as redis, pytest.raises(StoreUnavailable):
        JobStore(redis, settings).counts()
    (check,) = check_redis(settings)
    assert check.level == "fail"
    assert "main" in check.found
    assert "PANOWEAVE_REDIS_SENTINELS" in check.remedy


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with replicated(tmp_path_factory.mktemp("replicated")) as found:
        wait_until(found.is_watched, 30)
        yield found


@pytest.fixture
def sentinel_settings(servers: Replicated) -> Settings:
    url = SecretStr(f"redis://{Replicated.NAME}/0")
    return Settings(redis_url=url, redis_sentinels=servers.addresses)


@pytest.mark.slow
def test_clients_follow_a_failover(servers: Replicated, sentinel_settings: Settings) -> None:
    works(sentinel_settings)
    assert "Redis replication" in {check.name for check in check_redis(sentinel_settings)}
    with connect(sentinel_settings) as redis:
        store = JobStore(redis, sentinel_settings)
        job_id = store.create(new_record()).id
        old = servers.primary()
        redis.wait(1, 2_000)  # acknowledged by the replica
        old.child.kill()
        with pytest.raises(StoreUnavailable):
            store.get(job_id)
        wait_until(lambda: _answers(store, job_id), 60)  # Sentinels may need a second vote
        assert servers.primary() is not old
        works(sentinel_settings)
        old.start()
        wait_until(lambda: _is_replica(old), 20)
        assert store.get(job_id).status is Status.QUEUED


@pytest.mark.slow
def test_a_primary_that_hangs_wakes_nobody_and_is_left(
    servers: Replicated, sentinel_settings: Settings
) -> None:
    """A frozen machine closes no connection: the API's subscription must find out by itself."""
    wait_until(servers.is_watched, 30)
    old = servers.primary()
    assert old.child.pid

    async def follow() -> None:
        async with open_subscriptions(sentinel_settings) as subscriptions:
            with subscriptions.subscribe("pano_1") as subscription:
                await subscription.wait(1)
                assert old.child.pid
                kill(old.child.pid, signal.SIGSTOP)
                for _ in range(40):
                    if await asyncio.to_thread(_wakes, sentinel_settings, "pano_1"):
                        began = time.monotonic()
                        await subscription.wait()
                        if time.monotonic() - began < 1:
                            return
                    await asyncio.sleep(0.5)
                raise AssertionError("the subscription still listens to the old primary")

    try:
        asyncio.run(follow())
    finally:
        kill(old.child.pid, signal.SIGCONT)
    wait_until(lambda: _is_replica(old), 30)


def _wakes(settings: Settings, job_id: str) -> bool:
    """Whether a message reached a subscriber on the primary of now."""
    try:
        with connect(settings) as redis:
            return bool(redis.publish("panoweave:wakes", job_id))
    except RedisConnectionError:
        return False


def _answers(store: JobStore, job_id: str) -> bool:
    try:
        return store.get(job_id).id == job_id
    except StoreUnavailable:
        return False


def _is_replica(server: ConfiguredRedis) -> bool:
    with server.client() as client:
        return bool(client.info("replication")["role"] == "slave")
