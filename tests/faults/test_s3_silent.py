"""S3 answers nothing for longer than a finished picture waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from panoweave.core.infra.redis import connect
from panoweave.core.jobs import events
from tests.faults.arena import arena, freeze_s3
from tests.processes import wait_until

NAMES = ("worker-1", "api-1", "janitor-1")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_could_not_be_stored_is_stored_later_and_not_made_again(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    with arena(tmp_path, tiny_checkpoint, NAMES) as here:
        wait_until(lambda: here.ready_workers() == 1, 90)
        job_id = here.post("unstored", width=192, stride=32, steps=60)
        wait_until(lambda: here.view(job_id)["status"] == "running", 30)
        waiting = here.post("waiting", steps=3)
        freeze_s3(here, 150, until=lambda: here.view(job_id)["status"] == "failed")
        failed = here.view(job_id)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "storage_unavailable")
        assert failed["error"]["retryable"]
        wait_until(lambda: here.view(waiting)["status"] == "succeeded", 60)
        assert here.view(waiting)["attempts"] == 1
        answer = here.ask("POST", f"/panoramas/{job_id}/retry")
        assert answer.status_code == 202
        wait_until(lambda: here.view(job_id)["status"] == "succeeded", 60)
        with connect(here.settings) as redis:
            history = events.read(redis, job_id, limit=1_000)
    second = history[[event.type for event in history].index("retried") :]
    assert "denoising" not in {event.data.get("phase") for event in second}
    assert {event.data["step"] for event in second if event.data.get("phase") == "resuming"} == {60}
