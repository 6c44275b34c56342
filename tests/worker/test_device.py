"""A GPU that breaks in the middle of a panorama."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest
import torch

from panoweave.core.jobs.record import Status
from panoweave.worker import job
from panoweave.worker.job import WorkerContext, device_answers
from tests.worker.attempts import Post, at_step, run


def test_a_process_whose_device_answers_no_more_ends_and_fails_nothing(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is not here: that it is asked, and what follows, is."""
    ended: list[int] = []

    class Ended(BaseException):
        pass

    def leave(status: int) -> NoReturn:
        ended.append(status)
        raise Ended

    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert device_answers(torch.device("cpu"))
    assert not device_answers(torch.device("cuda:63"))
    monkeypatch.setattr(job, "device_answers", lambda _: False)
    monkeypatch.setattr(os, "_exit", leave)
    at_step(2, fail, monkeypatch)
    record = post()
    with pytest.raises(Ended):
        run(context, record)
    assert ended == [71]
    assert context.store.get(record.id).status is Status.RUNNING  # the janitor's, after its lease
