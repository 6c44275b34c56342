"""S3 takes connections and answers nothing: what does not need it answers at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from panoweave.core.infra.breaker import Breaker, NotAsked
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.servers import S3Server
from tests.service.server import serving

PROMPTLY_S = 2.0  # on a busy machine; a few milliseconds on an idle one


@contextmanager
def hung_s3(folder: Path, settings: Settings) -> Iterator[tuple[Settings, S3Server]]:
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    with S3Server(
        folder / "data",
        folder / "logs",
        bucket="panoweave",
        access_key_id=settings.s3_access_key_id.get_secret_value(),
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
    ) as server:
        assert server.child.pid is not None
        os.kill(server.child.pid, signal.SIGSTOP)
        try:
            yield settings.model_copy(update={"s3_endpoint": server.endpoint}), server
        finally:
            os.kill(server.child.pid, signal.SIGCONT)


def test_a_hung_s3_holds_up_nothing_else(tmp_path: Path, settings: Settings, redis: Redis) -> None:
    redis.ping()
    with hung_s3(tmp_path, settings) as (here, server), serving(here) as api:

        def ask(number: int) -> int:
            return api.get(f"/panoramas/pano_{number:026d}").status_code

        with ThreadPoolExecutor(45) as callers:
            begun = time.monotonic()
            waiting = [callers.submit(ask, number) for number in range(45)]
            took = []
            while not all(one.done() for one in waiting):
                asked_at = time.monotonic()
                for path in ("/readyz", "/livez", "/panoramas"):
                    assert api.get(path).status_code == 200
                took.append(time.monotonic() - asked_at)
                time.sleep(0.1)
            assert {one.result() for one in waiting} == {503}
        assert time.monotonic() - begun < 10
        assert max(took) < PROMPTLY_S
        asked_at = time.monotonic()
        assert [ask(number) for number in range(45)] == [503] * 45  # S3 is not asked again yet
        assert time.monotonic() - asked_at < PROMPTLY_S + 5  # one may be let through to see
        assert server.child.pid is not None
        os.kill(server.child.pid, signal.SIGCONT)
        deadline = time.monotonic() + 20
        while ask(0) == 503 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert ask(0) == 404


def fail(breaker: Breaker) -> None:
    with pytest.raises(OSError, match="silent"), breaker.call():
        raise OSError("silent")


def test_a_breaker_opens_after_failures_and_closes_after_an_answer() -> None:
    breaker = Breaker(OSError, failures=2, pause_s=0.2)
    fail(breaker)
    with pytest.raises(KeyError), breaker.call():
        raise KeyError  # an answer: the count begins anew
    fail(breaker)
    fail(breaker)
    with pytest.raises(NotAsked), breaker.call():
        pass
    time.sleep(0.25)
    with breaker.call(), pytest.raises(NotAsked), breaker.call():
        pass  # one is let through; the other waits for what it finds
    for _ in range(2):
        with breaker.call():
            pass


def test_a_breaker_lets_so_many_through_at_once() -> None:
    breaker = Breaker(OSError, at_once=1, queue_s=0.05)
    with breaker.call():
        begun = time.monotonic()
        with pytest.raises(NotAsked), breaker.call():
            pass
        assert time.monotonic() - begun < 1
    with breaker.call():
        pass
