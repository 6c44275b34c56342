"""A fleet that comes and goes as on Kubernetes with KEDA: real processes, SIGTERM, no cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.jobs import events
from tests.deploy.chart.render import of_defaults
from tests.faults.arena import TENANT, Arena, arena, objects_of
from tests.processes import environment_of, wait_until

# No panorama is nearly done for this worker: it gives back what a patient one would finish.
_AT_ONCE = (
    "from panoweave.worker import attempt; attempt.DRAIN_S = -1.0; "
    "from panoweave.deploy.cli import main; import sys; sys.argv = ['panoweave', 'worker']; main()"
)
_SOON_S = 240  # a worker starts, on a busy machine
_REMOVED_S = 30
_GRACE_S: float = of_defaults()["terminationGracePeriodSeconds"]
ASKED = {"width": 192, "stride": 32, "steps": 60}


@contextmanager
def worker(
    here: Arena, log_file: Path, *, at_once: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """A pod of the Deployment: SIGTERM at the end of the block, SIGKILL after the grace period."""
    python = ["-c", _AT_ONCE] if at_once else ["-m", "panoweave.deploy.cli", "worker"]
    with log_file.open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-P", *python],
            env=environment_of(here.settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started
        started.terminate()
        assert started.wait(_GRACE_S) in (0, -signal.SIGTERM)
    finally:
        started.kill()
        started.wait()


def phases(here: Arena, job_id: str) -> list[str]:
    """What the events have reported so far, and `started` for each attempt."""
    with connect(here.settings) as redis:
        found = events.read(redis, job_id, limit=1_000)
    return [str(each.data.get("phase", each.type)) for each in found]


def objects_of_other_attempts(here: Arena, job_id: str) -> list[str]:
    return [key for key in objects_of(here) if f"{job_id}/" in key and "/5/" not in key]


def has_reached(here: Arena, job_id: str, phase: str, times: int) -> Callable[[], bool]:
    return lambda: phases(here, job_id).count(phase) >= times


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_workers_leave_at_every_phase_and_others_go_on(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """One panorama through the hands of six workers; nothing is lost, or computed twice."""
    log = tmp_path / "workers.log"
    with arena(tmp_path, tiny_checkpoint, ("api-1", "janitor-1"), savepoint_every_s=60) as here:
        with worker(here, log, at_once=False):
            wait_until(lambda: here.ready_workers() == 1, _SOON_S)
            whole = here.post("whole", **ASKED)
            wait_until(lambda: here.view(whole)["status"] == "succeeded", _SOON_S)
        job_id = here.post("shared", **ASKED)
        with worker(here, log) as loading:  # its model
            time.sleep(1)
            assert loading.poll() is None
        for phase, times in (("started", 1), ("denoising", 3), ("denoising", 30)):
            with worker(here, log):
                wait_until(has_reached(here, job_id, phase, times), _SOON_S)
            assert here.view(job_id)["status"] == "queued"
        with worker(here, log):
            wait_until(has_reached(here, job_id, "denoising", 50), _SOON_S)
            os.kill(here.s3_server.child.pid or 0, signal.SIGSTOP)
            wait_until(has_reached(here, job_id, "uploading", 1), _SOON_S)
        os.kill(here.s3_server.child.pid or 0, signal.SIGCONT)
        assert here.view(job_id)["status"] == "queued"
        before = phases(here, job_id)
        with worker(here, log):
            wait_until(lambda: here.view(job_id)["status"] == "succeeded", _SOON_S)
            wait_until(lambda: here.ready_workers() == 1, _SOON_S)  # idle
        assert "denoising" not in phases(here, job_id)[len(before) :]
        shared, alone = (here.view(each)["result"] for each in (job_id, whole))
        assert shared["sha256"] == alone["sha256"]
        assert here.view(job_id)["attempts"] == 5
        steps = [step for step in before if step == "denoising"]
        assert len(steps) <= ASKED["steps"] + 4  # reports of steps, none of them twice
        with connect(here.settings) as redis:
            lost = redis.hget(f"panoweave:job:{job_id}", "losses")
        assert lost in (None, b"0")
        # What S3 took from the fourth attempt, the janitor removes two leases after the end.
        wait_until(lambda: not objects_of_other_attempts(here, job_id), _REMOVED_S)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fleet_that_never_had_a_worker_comes_and_goes(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """From the first request ever, by what /scaling answers alone."""
    log = tmp_path / "workers.log"
    with arena(tmp_path, tiny_checkpoint, ("api-1",)) as here:
        with connect(here.settings) as redis:
            keys = ApiKeys(redis)
            scaler, client = keys.create("fleet", ("scaling",)), keys.create(TENANT, ("write",))

        def ask(method: str, path: str, token: str, **more: object) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{here.api_url}{path}"
            return httpx.request(method, url, headers=headers, timeout=70, **more)  # type: ignore[arg-type]

        def wanted() -> int:
            model = str(tiny_checkpoint).replace("/", "%2F")
            answer = ask("GET", f"/scaling/{model}", scaler[1])
            assert answer.status_code == 200, answer.text
            return int(answer.json()["workers_wanted"])

        def post() -> httpx.Response:
            body = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 3}
            return ask("POST", "/panoramas", client[1], json=body)

        wait_until(lambda: _answers(here), 30)
        assert wanted() == 0
        first = post()
        assert first.status_code == 202, first.text
        assert wanted() == 1
        with worker(here, log, at_once=False):
            _finish(ask, client[1], first)
            wait_until(lambda: wanted() == 0, 10)
        assert here.ready_workers() == 0
        asleep = post()  # accepted, though nobody is there
        assert asleep.status_code == 202
        assert wanted() == 1
        with worker(here, log, at_once=False):
            _finish(ask, client[1], asleep)
            wait_until(lambda: wanted() == 0, 10)


def _answers(here: Arena) -> bool:
    try:
        return httpx.get(f"{here.api_url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _finish(ask: Callable[..., httpx.Response], token: str, posted: httpx.Response) -> None:
    path = f"/panoramas/{posted.json()['id']}"

    def has_succeeded() -> bool:
        return bool(ask("GET", path, token).json()["status"] == "succeeded")

    wait_until(has_succeeded, _SOON_S)
