"""Redis is killed and comes back from its append-only file."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.faults.arena import AS_INSTALLED, LONG, arena, is_under_way
from tests.processes import wait_until

NAMES = ("worker-1", "api-1", "janitor-1")


@pytest.mark.slow
@pytest.mark.parametrize("away_s", [1, 15, 60])
def test_what_was_taken_in_survives_and_the_work_in_hand_is_kept(
    tmp_path: Path, tiny_checkpoint: Path, away_s: float
) -> None:
    with arena(tmp_path, tiny_checkpoint, NAMES, **AS_INSTALLED) as here:
        wait_until(lambda: here.ready_workers() == 1, 90)
        running, waiting = here.post("running", **LONG), here.post("waiting", steps=3)
        wait_until(lambda: is_under_way(here, running), 30)
        time.sleep(1.1)  # what is younger than a second is not promised
        here.redis_server.child.kill()
        answer = httpx.post(f"{here.api_url}/panoramas", json={"prompt": "a lake"}, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        time.sleep(away_s)
        here.redis_server.start()
        for job_id in (running, waiting):
            wait_until(lambda job=job_id: here.view(job)["status"] == "succeeded", 90)  # type: ignore[misc]
            assert here.view(job_id)["attempts"] == 1
        assert {process.poll() for process in here.processes.values()} == {None}  # nobody ended
        later = here.post("later", steps=3)
        wait_until(lambda: here.view(later)["status"] == "succeeded", 60)
