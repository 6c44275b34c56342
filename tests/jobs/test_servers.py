"""The servers that every other test stands on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.deploy.errors import StackFailed
from panoweave.deploy.local.servers import RedisServer, S3Server
from tests.processes import wait_until


def s3(folder: Path) -> S3Server:
    return S3Server(
        folder / "data",
        folder / "logs",
        bucket="panoramas",
        access_key_id="key",
        secret_access_key="secret",
    )


def test_two_s3_servers_at_once_and_one_again_elsewhere(
    tmp_path: Path, s3_server: S3Server
) -> None:
    """Beside the session's: neither takes a port of the other's. Its data moves with it."""
    body = b"kept"
    with s3(tmp_path) as server, closing(bucket_of(server)) as objects:
        assert s3_server.answers()
        objects.put("a", body, "text/plain", hashlib.sha256(body).hexdigest())
    with s3(tmp_path) as server, closing(bucket_of(server)) as objects:
        assert objects.get("a") == body


def bucket_of(server: S3Server) -> ObjectStore:
    return ObjectStore(
        Settings(
            s3_endpoint=server.endpoint,
            s3_bucket=server.bucket,
            s3_access_key_id=SecretStr("key"),
            s3_secret_access_key=SecretStr("secret"),
        )
    )


def test_a_taken_port_is_named(tmp_path: Path, redis_server: RedisServer) -> None:
    with pytest.raises(StackFailed, match=str(redis_server.port)):
        RedisServer(tmp_path, tmp_path, port=redis_server.port).start()


def test_redis_keeps_its_data_and_its_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, tmp_path, password="hunter2") as server:
        with Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        cmdline = Path(f"/proc/{server.child.pid}/cmdline").read_bytes()
        assert b"hunter2" not in cmdline
    with (
        RedisServer(tmp_path, tmp_path, password="hunter3") as server,
        Redis.from_url(server.url) as client,
    ):
        assert client.get("kept") == b"yes"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(2**30)}


def test_what_a_server_that_dies_had_to_say_is_shown(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("not an append-only file")
    with pytest.raises(StackFailed, match="Bad file format"):
        RedisServer(tmp_path, tmp_path / "logs").start()


def test_a_killed_parent_leaves_no_server_behind(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from panoweave.deploy.local.servers import RedisServer\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with RedisServer(folder, folder) as server:\n"
        "    print(server.child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout as said:
        server_pid = int(said.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not _alive(server_pid), 30)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
