"""No room left on the disk: S3's, Redis's, or the one that logs are written to."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import httpx
import pytest

from panoweave.core.infra.redis import connect
from panoweave.core.jobs import events
from tests.faults.arena import AS_INSTALLED, LONG, Arena, arena, is_under_way, objects_of
from tests.faults.small_disk import small_disk
from tests.processes import wait_until

pytestmark = pytest.mark.slow

NAMES = ("worker-1", "api-1", "janitor-1")


def has_succeeded(here: Arena, job_id: str) -> bool:
    view = here.view(job_id)
    assert view["status"] in ("queued", "running", "succeeded"), view
    return bool(view["status"] == "succeeded")


def test_what_s3_has_no_room_for_waits_and_is_not_made_again(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    with (
        small_disk(tmp_path / "s3", mib=64) as disk,
        arena(tmp_path, tiny_checkpoint, NAMES) as here,
    ):
        wait_until(lambda: here.ready_workers() == 1, 90)
        before = here.post("before", steps=3)  # now its first volume is there
        wait_until(lambda: has_succeeded(here, before), 60)
        job_id = here.post("no-room", **LONG)
        wait_until(lambda: is_under_way(here, job_id), 30)
        disk.fill()
        wait_until(lambda: "; trying again" in here.log("worker-1"), 60)
        assert here.view(job_id)["status"] == "running"
        disk.make_room()
        # SeaweedFS's own index takes nothing more after an error, until it is started again.
        here.s3_server.stop()
        here.s3_server.start()
        wait_until(lambda: has_succeeded(here, job_id), 60)
        view = here.view(job_id)
        assert view["attempts"] == 1
        picture = httpx.get(f"{here.api_url}/panoramas/{job_id}/image", follow_redirects=True)
        assert hashlib.sha256(picture.content).hexdigest() == view["result"]["sha256"]
        assert len(objects_of(here)) == 6
        with connect(here.settings) as redis:
            history = events.read(redis, job_id, limit=1_000)
        steps = [event.data["step"] for event in history if event.data.get("phase") == "denoising"]
        assert steps == sorted(set(steps))


def test_a_redis_without_room_takes_nothing_in_and_loses_nothing(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """Nor is there any for what the processes have to say: that stops none of them."""
    with (
        small_disk(tmp_path / "redis", mib=8) as disk,
        arena(tmp_path, tiny_checkpoint, NAMES, log=Path("/dev/full"), **AS_INSTALLED) as here,
    ):
        wait_until(lambda: here.ready_workers() == 1, 90)
        accepted = [here.post("before", **LONG)]
        wait_until(lambda: is_under_way(here, accepted[0]), 30)
        disk.fill()
        # The last page of its file has some room left.
        refused = f"while-full-{_post_until_refused(here, accepted)}"
        assert here.ask("GET", f"/panoramas/{accepted[0]}").json()["status"] == "running"
        time.sleep(3)
        disk.make_room()
        accepted.append(here.post(refused, steps=3))

        for job_id in accepted:
            wait_until(lambda job=job_id: has_succeeded(here, job), 90)  # type: ignore[misc]
        assert here.view(accepted[0])["attempts"] == 1
        time.sleep(1.1)  # what is younger than a second is not promised
        here.restart_redis(away_s=0.1)
        listed = here.ask("GET", "/panoramas?limit=100").json()["items"]
        assert {item["id"]: item["status"] for item in listed} == dict.fromkeys(
            accepted, "succeeded"
        )
        assert {process.poll() for process in here.processes.values()} == {None}  # nobody ended


def _post_until_refused(here: Arena, accepted: list[str]) -> int:
    """Which one was; those before it are accepted."""
    for number in range(200):
        answer = httpx.post(
            f"{here.api_url}/panoramas",
            json={"prompt": "a lake", "width": 128, "stride": 64, "steps": 3, "seed": 1},
            headers={"Idempotency-Key": f"while-full-{number}"},
            timeout=10,
        )
        if answer.status_code != 202:
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert int(answer.headers["retry-after"]) > 0
            return number
        accepted.append(answer.json()["id"])
        time.sleep(0.1)
    raise AssertionError("a full disk refused nothing")
