"""While nothing can be stored, nothing is begun that would have to be."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.jobs.failures import FailureCode
from core.jobs.objects import ObjectStore
from core.jobs.record import JobRecord, Status
from deploy.local.servers import S3Server
from tests.conftest import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY
from tests.processes import wait_until
from worker import artifacts, tasks
from worker.tasks import Workshop, take_turn

Post = Callable[..., JobRecord]


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(
        tmp_path / "data",
        tmp_path / "logs",
        bucket="panoweave",
        access_key_id=S3_ACCESS_KEY_ID,
        secret_access_key=S3_SECRET_ACCESS_KEY,
    ) as server:
        yield server


@pytest.fixture
def here(
    workshop: Workshop, own_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    """On a server of its own, with less patience."""
    monkeypatch.setattr(artifacts, "PATIENCE_S", 0.1)
    monkeypatch.setattr(tasks, "_STORAGE_WAIT_S", 0.1)
    settings = workshop.settings.model_copy(update={"s3_endpoint": own_s3.endpoint})
    objects = ObjectStore(settings)
    made = dataclasses.replace(
        workshop, settings=settings, objects=objects, stopping=threading.Event()
    )
    tasks.install(made)
    yield made
    made.stopping.set()
    objects.close()


def test_those_that_wait_go_on_waiting(here: Workshop, post: Post, own_s3: S3Server) -> None:
    first, second = post(), post()
    own_s3.child.kill()
    with ThreadPoolExecutor(1) as worker:
        try:
            turn = worker.submit(take_turn)
            wait_until(lambda: here.store.get(first.id).status is Status.FAILED, 60)
            error = here.store.get(first.id).error
            assert error is not None
            assert error.code is FailureCode.STORAGE_UNAVAILABLE
            with pytest.raises(TimeoutError):
                turn.result(3)
            assert here.store.get(second.id).status is Status.QUEUED
            own_s3.start()
            turn.result(60)
        finally:
            here.stopping.set()
    here.stopping.clear()
    assert here.queue.turns() == 1  # it has called for the next
    assert here.objects.list("") == []
    take_turn()
    assert here.store.get(second.id).status is Status.SUCCEEDED


def test_whoever_is_asked_to_leave_waits_no_longer(
    here: Workshop, post: Post, own_s3: S3Server
) -> None:
    record = post()
    own_s3.child.kill()
    with ThreadPoolExecutor(1) as worker:
        try:
            turn = worker.submit(take_turn)
            wait_until(lambda: here.store.get(record.id).status is Status.FAILED, 60)
        finally:
            here.stopping.set()
        turn.result(30)
