"""What `panoweave up` takes over: the caller's settings, and what the last start left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from panoweave.core.infra.settings import Settings
from panoweave.deploy.environment import leave_loopback_to_no_proxy
from panoweave.deploy.local.data_dir import DataDir
from panoweave.deploy.local.ports import LOOPBACK
from panoweave.deploy.local.stack import Stack


def stack_on(home: Path, said: list[str], **settings: object) -> Stack:
    return Stack(DataDir(home), Settings(s3_public_endpoint=None, **settings), said.append)  # type: ignore[arg-type]


def test_the_host_that_is_set_is_kept(tmp_path: Path) -> None:
    """For the address that is shown, and for the API's process."""
    stack = stack_on(tmp_path, [], host="127.0.0.2", port=20_080)
    assert stack.api_url == "http://127.0.0.2:20080"
    assert stack.metrics_urls[0] == "http://127.0.0.2:20080/metrics"
    assert stack.environment["PANOWEAVE_HOST"] == "127.0.0.2"
    assert stack.environment["PANOWEAVE_ANONYMOUS"] == "loopback"
    beyond = stack_on(tmp_path, [], host="0.0.0.0")
    assert beyond.environment["PANOWEAVE_HOST"] == "0.0.0.0"
    assert beyond.environment["PANOWEAVE_ANONYMOUS"] == "off"


def test_redis_and_s3_keep_their_ports_over_a_restart(tmp_path: Path) -> None:
    """Or URLs that are good for an hour would lead nowhere."""
    addresses = ("PANOWEAVE_REDIS_URL", "PANOWEAVE_S3_ENDPOINT", "PANOWEAVE_S3_PUBLIC_ENDPOINT")
    said: list[str] = []
    first, second = (stack_on(tmp_path, said).environment for _ in range(2))
    assert [first[name] for name in addresses] == [second[name] for name in addresses]
    assert said == []

    port = int(first["PANOWEAVE_S3_ENDPOINT"].rpartition(":")[2])
    with socket.socket() as other:
        other.bind((LOOPBACK, port))
        other.listen()
        moved = stack_on(tmp_path, said).environment
    assert moved["PANOWEAVE_S3_ENDPOINT"] != first["PANOWEAVE_S3_ENDPOINT"]
    assert moved["PANOWEAVE_REDIS_URL"] == first["PANOWEAVE_REDIS_URL"]
    assert [f"port {port}" in line for line in said] == [True]


def test_a_proxy_is_not_asked_for_servers_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "some.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    leave_loopback_to_no_proxy()
    for name in ("no_proxy", "NO_PROXY"):
        left = os.environ[name].split(",")
        assert left[0] == "some.example"
        assert {"127.0.0.1", "localhost"} <= set(left)
