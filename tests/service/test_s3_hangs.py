"""S3 takes connections and answers nothing: what does not need it answers at once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from inspect import signature
from itertools import count
from types import SimpleNamespace

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import breaker
from panoweave.core.infra.breaker import Breaker, NotAsked
from panoweave.core.infra.s3_client import SHORT_WAITS, Waits
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.servers import S3Server
from panoweave.service import dependencies
from tests.processes import wait_until
from tests.service.server import serving


def ask(api: httpx.Client, number: int) -> int:
    return api.get(f"/panoramas/pano_{number:026d}", timeout=150).status_code


@pytest.fixture(scope="module")
def own_s3(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[S3Server]:
    """An S3 server that a test may stop."""
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    folder = tmp_path_factory.mktemp("own-s3")
    with S3Server(
        folder / "data",
        folder / "logs",
        bucket="panoweave",
        access_key_id=settings.s3_access_key_id.get_secret_value(),
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
    ) as server:
        yield server
        server.child.kill()  # nobody reads this data again, and a clean end takes it seconds


@contextmanager
def hung(server: S3Server, settings: Settings) -> Iterator[Settings]:
    """Until the test lets it go on."""
    assert server.child.pid is not None
    os.kill(server.child.pid, signal.SIGSTOP)
    try:
        yield settings.model_copy(update={"s3_endpoint": server.endpoint})
    finally:
        let_go_on(server)


def let_go_on(server: S3Server) -> None:
    assert server.child.pid is not None
    os.kill(server.child.pid, signal.SIGCONT)


def test_a_hung_s3_holds_up_nothing_else(
    own_s3: S3Server, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers only once everybody else has been answered."""
    redis.ping()
    monkeypatch.setattr(dependencies, "SHORT_WAITS", Waits(connect_s=120, read_s=120, tries=1))
    with hung(own_s3, settings) as here, serving(here) as api:
        with ThreadPoolExecutor(45) as callers:
            waiting = [callers.submit(ask, api, number) for number in range(45)]
            try:
                wait_until(lambda: sum(each.done() for each in waiting) == 25, 30)
                for path in ("/readyz", "/livez", "/panoramas"):
                    assert api.get(path).status_code == 200
                assert sum(each.done() for each in waiting) == 25
            finally:
                let_go_on(own_s3)
        assert Counter(each.result() for each in waiting) == {503: 25, 404: 20}


def test_a_hung_s3_is_left_alone_for_a_while(
    own_s3: S3Server, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.ping()
    assert SHORT_WAITS.tries * (SHORT_WAITS.connect_s + SHORT_WAITS.read_s) <= 5
    monkeypatch.setattr(dependencies, "SHORT_WAITS", Waits(connect_s=1, read_s=1, tries=1))
    silences: list[Breaker] = []
    count_failure = Breaker._count_failure

    def note_and_count(self: Breaker) -> None:
        silences.append(self)
        count_failure(self)

    monkeypatch.setattr(Breaker, "_count_failure", note_and_count)
    monkeypatch.setattr(dependencies, "Breaker", partial(Breaker, pause_s=3_600))
    with hung(own_s3, settings) as here, serving(here) as api:
        with ThreadPoolExecutor(5) as callers:
            assert {*callers.map(lambda number: ask(api, number), range(5))} == {503}
        assert len(silences) == 5
        assert {ask(api, number) for number in range(45)} == {503}
        assert len(silences) == 5
        let_go_on(own_s3)
        assert ask(api, 0) == 503
        hours = count(step=7_200)  # whenever somebody looks at the clock
        monkeypatch.setattr(breaker, "time", SimpleNamespace(monotonic=lambda: next(hours)))
        wait_until(lambda: ask(api, 0) == 404, 30)


def fail(breaker: Breaker) -> None:
    with pytest.raises(OSError, match="silent"), breaker.call():
        raise OSError("silent")


def test_a_breaker_opens_after_failures_and_closes_after_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(breaker, "time", SimpleNamespace(monotonic=lambda: now))
    guard = Breaker(OSError, failures=2, pause_s=5)
    fail(guard)
    with pytest.raises(KeyError), guard.call():
        raise KeyError  # an answer: the count begins anew
    fail(guard)
    fail(guard)
    now = 4.9
    with pytest.raises(NotAsked), guard.call():
        pass
    now = 5.1
    with guard.call(), pytest.raises(NotAsked), guard.call():
        pass  # one is let through; the other waits for what it finds
    for _ in range(2):
        with guard.call():
            pass


def test_a_breaker_lets_so_many_through_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More are refused, soon; or let through, if one of the others ends meanwhile."""
    assert signature(Breaker).parameters["queue_s"].default < 1
    guard = Breaker(OSError, at_once=1, queue_s=0.05)
    waited_s: list[float] = []
    acquire = guard._slots.acquire

    def note_and_acquire(*, timeout: float) -> bool:
        waited_s.append(timeout)
        return acquire(timeout=timeout)

    monkeypatch.setattr(guard._slots, "acquire", note_and_acquire)
    with guard.call(), pytest.raises(NotAsked), guard.call():
        pass
    assert waited_s == [0.05, 0.05]
    with guard.call():
        pass
    patient = Breaker(OSError, at_once=1, queue_s=30)

    def call() -> bool:
        with patient.call():
            return True

    with ThreadPoolExecutor(1) as pool:
        with patient.call():
            second = pool.submit(call)
            wait([second], timeout=0.05)
            assert not second.done()
        assert second.result(30)
