"""SIGTERM to the API while it is busy: nothing that it has promised is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from panoweave.core.infra.redis import connect
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.store import JobStore
from tests.faults.arena import Arena, arena
from tests.jobs.samples import TRAITS, progress, result_of, start_job
from tests.processes import wait_until


def publish_model(here: Arena) -> None:
    """As a worker that holds it does."""
    with connect(here.settings) as redis:
        models.publish(
            redis,
            ModelState(
                model=here.settings.model,
                state="ready",
                traits=TRAITS,
                perceptual="stlpips-alex",
                worker="worker-1",
            ),
        )


def is_ready(here: Arena) -> bool:
    try:
        return here.http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def meanwhile(*tasks: Callable[[], object]) -> Iterator[threading.Event]:
    """Each again and again, in a thread of its own, until the block is left or the event is set."""
    enough = threading.Event()

    def repeat(task: Callable[[], object]) -> None:
        while not enough.is_set():
            try:
                task()
            except httpx.TransportError:
                enough.wait(0.05)

    threads = [threading.Thread(target=repeat, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield enough
    finally:
        enough.set()
        for thread in threads:
            thread.join(20)


@pytest.mark.slow
def test_no_202_is_lost(tmp_path: Path) -> None:
    """Eight clients post as fast as they can while the API is stopped, twice."""
    with arena(tmp_path, tmp_path, ("api-1",)) as here:
        publish_model(here)
        wait_until(lambda: is_ready(here), 30)
        taken_in: list[str] = []

        def post() -> None:
            answer = here.http.post("/panoramas", json={"prompt": "a lake"}, timeout=20)
            if answer.status_code == 202:
                taken_in.append(answer.json()["id"])

        with meanwhile(*[post] * 8):
            for stop in (1, 2):
                wait_until(lambda count=50 * stop: len(taken_in) > count, 60)  # type: ignore[misc]
                here.send("api-1", signal.SIGTERM)
                assert here.processes["api-1"].wait(30) in (0, -signal.SIGTERM)
                here.tend()
            wait_until(lambda: len(taken_in) > 150, 60)
        with connect(here.settings) as redis:
            known = JobStore(redis, here.settings)
            assert [known.get(job_id).id for job_id in taken_in] == taken_in


def test_no_event_is_lost(tmp_path: Path) -> None:
    """A reader whose stream is cut goes on where it was, at the API that comes after."""
    with arena(tmp_path, tmp_path, ("api-1",)) as here, connect(here.settings) as redis:
        publish_model(here)
        wait_until(lambda: is_ready(here), 30)
        store, job_id = JobStore(redis, here.settings), here.post("watched", stride=32)
        record = start_job(store, job_id, "worker-1")
        assert record.token is not None
        seen: list[tuple[str, str]] = []

        def follow() -> None:
            kind = ""
            headers = {"Last-Event-ID": seen[-1][0]} if seen else {}
            path = f"/panoramas/{job_id}/events"
            with here.http.stream("GET", path, headers=headers, timeout=20) as answer:
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        kind = value
                    if name == "id":
                        seen.append((value, kind))

        with meanwhile(follow):
            for step in range(1, 11):
                store.report(job_id, record.token, progress(step, 10))
                if step == 5:
                    wait_until(lambda: len(seen) >= 5, 20)
                    here.send("api-1", signal.SIGTERM)
            assert here.processes["api-1"].wait(30) in (0, -signal.SIGTERM)
            store.succeed(job_id, record.token, result_of(record))
            here.tend()
            wait_until(lambda: seen[-1][1] == "succeeded", 60)
        kinds = [kind for _, kind in seen]
        assert kinds == ["created", "started", *["progress"] * 10, "succeeded"]
        assert len({id_ for id_, _ in seen}) == len(seen)
