"""What worker and janitor answer on a port of their own."""

from __future__ import annotations

import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.ports import LOOPBACK, free_port
from panoweave.worker.health import CannotListen, Health, serve_health


@pytest.fixture
def here() -> Settings:
    return Settings(metrics_port=free_port())


def get(settings: Settings, path: str) -> httpx.Response:
    return httpx.get(f"http://{LOOPBACK}:{settings.metrics_port}{path}", timeout=30)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (Health("loading"), 503),
        (Health("failed", "there is no directory /nowhere"), 503),
        (Health("ready"), 200),
    ],
)
def test_it_is_ready_when_it_is(here: Settings, condition: Health, status: int) -> None:
    with serve_health(here, CollectorRegistry(), lambda: condition):
        answer = get(here, "/readyz")
        assert get(here, "/livez").status_code == 200
    assert answer.status_code == status
    assert answer.json() == {"status": condition.status, "detail": condition.detail}
    with pytest.raises(httpx.TransportError):
        get(here, "/livez")


def test_it_shows_its_registry_and_nothing_else(here: Settings) -> None:
    registry = CollectorRegistry()
    Gauge("panoweave_something", "Shown.", registry=registry).set(3)
    with serve_health(here, registry, lambda: Health("ready")):
        assert "panoweave_something 3.0" in get(here, "/metrics").text
        assert get(here, "/").status_code == 404


def test_one_who_says_nothing_keeps_nobody_waiting(here: Settings) -> None:
    with serve_health(here, CollectorRegistry(), lambda: Health("ready")):
        assert here.metrics_port is not None
        with socket.create_connection((LOOPBACK, here.metrics_port)):
            assert get(here, "/livez").status_code == 200


def test_without_a_port_nobody_listens() -> None:
    with serve_health(Settings(), CollectorRegistry(), lambda: Health("ready")):
        pass


def test_a_taken_port_is_named(here: Settings) -> None:
    with (
        serve_health(here, CollectorRegistry(), lambda: Health("ready")),
        pytest.raises(CannotListen, match=str(here.metrics_port)),
        serve_health(here, CollectorRegistry(), lambda: Health("ready")),
    ):
        pass
