"""Requests that name another host are refused: a page elsewhere may have sent them."""

from __future__ import annotations

import socket

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.service.http.hosts import allowed_hosts
from tests.service.checks import problem
from tests.service.server import serving


def get(api: httpx.Client, path: str, host: str) -> httpx.Response:
    return api.get(path, headers={"Host": host})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_loopback_goes_by_its_names(api: httpx.Client, host: str) -> None:
    assert get(api, "/panoramas", host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["attacker.example", "localhost.attacker.example:8000", "127.0.0.1.example", "10.0.0.1", ""],
)
def test_other_names_are_refused(api: httpx.Client, host: str) -> None:
    for path in ("/panoramas", "/openapi.json", "/metrics", "/nowhere"):
        problem(get(api, path, host), 421, "wrong_host")
    post = api.post("/panoramas", json={"prompt": "a hill"}, headers={"Host": host})
    problem(post, 421, "wrong_host")
    assert get(api, "/livez", host).status_code == 200  # an orchestrator's probe


def test_two_hosts_are_none(api: httpx.Client) -> None:
    assert api.base_url.port is not None
    with socket.create_connection((api.base_url.host, api.base_url.port)) as client:
        client.sendall(b"GET /panoramas HTTP/1.1\r\nHost: localhost\r\nHost: a.example\r\n\r\n")
        assert client.recv(100).split()[1] in (b"400", b"421")


def test_a_setting_names_others(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    named = settings.model_copy(update={"allowed_hosts": "panoramas.example, [::1] ,"})
    with serving(named) as api:
        assert get(api, "/panoramas", "Panoramas.example:443").status_code == 200
        problem(get(api, "/panoramas", "localhost"), 421, "wrong_host")


def test_beyond_loopback_keys_protect_and_any_name_is_taken() -> None:
    assert allowed_hosts(Settings(host="0.0.0.0")) == {"*"}
    assert allowed_hosts(Settings(host="0.0.0.0", allowed_hosts="a.example")) == {"a.example"}
    assert allowed_hosts(Settings(host="127.8.8.8")) >= {"127.8.8.8", "localhost"}
