"""Workers that die: how soon another goes on, and when nobody does any more."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.arena import AS_INSTALLED, LONG, arena, is_under_way
from tests.processes import wait_until


@pytest.mark.slow
def test_a_lost_panorama_is_taken_up_within_30_s_as_installed(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """Two janitors, of which one acts: it is taken up once."""
    names = ("worker-1", "worker-2", "api-1", "janitor-1", "janitor-2")
    with arena(tmp_path, tiny_checkpoint, names, **AS_INSTALLED) as here:
        wait_until(lambda: here.ready_workers() == 2, 90)
        job_id = here.post("lost", **LONG)
        wait_until(lambda: is_under_way(here, job_id), 30)
        holder = next(name for name in names if f"{job_id}: attempt 1" in here.log(name))
        here.send(holder, signal.SIGKILL)
        died = time.monotonic()
        wait_until(lambda: here.view(job_id)["attempts"] == 2, 60)
        assert time.monotonic() - died < 30
        wait_until(lambda: here.view(job_id)["status"] == "succeeded", 60)
        assert here.view(job_id)["attempts"] == 2


@pytest.mark.slow
def test_a_poisonous_panorama_stops_after_its_attempts_and_others_go_on(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """Every worker that takes it dies of it."""
    names = ("worker-1", "api-1", "janitor-1")
    with arena(tmp_path, tiny_checkpoint, names, max_attempts=2) as here:
        wait_until(lambda: here.ready_workers() == 1, 90)
        poison, other = here.post("poison", **LONG), here.post("other", steps=3)
        for attempt in (1, 2):
            wait_until(lambda: is_under_way(here, poison), 90)
            assert here.view(poison)["attempts"] == attempt
            here.send("worker-1", signal.SIGKILL)
            wait_until(lambda: here.view(poison)["status"] != "running", 60)
            here.tend()
        ended = here.view(poison)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
        wait_until(lambda: here.view(other)["status"] == "succeeded", 90)
        assert here.view(poison)["attempts"] == 2
