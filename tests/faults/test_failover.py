"""The primary of a replicated Redis is lost mid-job and under load; Sentinels name another."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.faults.arena import LONG, arena, is_under_way
from tests.processes import wait_until
from tests.redis_servers import ACL_RULES, Replicated, replicated

NAMES = ("worker-1", "api-1", "janitor-1")
_SOON_S = 240  # on a busy machine
# Replication is asynchronous: what was accepted in the last moment may be unknown to the replica.
_NOT_PROMISED_S = 1.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_work_goes_on_at_the_next_primary(
    tmp_path: Path, tiny_checkpoint: Path, how: signal.Signals
) -> None:
    url = SecretStr(f"redis://panoweave:secret@{Replicated.NAME}/0")
    user = f"panoweave on >secret {ACL_RULES}"
    with (
        replicated(tmp_path / "replicated", down_after_ms=1_500, user=user) as servers,
        arena(
            tmp_path, tiny_checkpoint, NAMES, redis_url=url, redis_sentinels=servers.addresses
        ) as here,
    ):
        wait_until(lambda: here.ready_workers() == 1 and servers.is_watched(), _SOON_S)
        running = here.post("running", **LONG)
        accepted: dict[str, float] = {}
        enough = threading.Event()

        def post() -> None:
            while not enough.is_set():
                job_id = here.post(f"load-{len(accepted)}", steps=2)
                accepted[job_id] = time.monotonic()
                time.sleep(0.1)

        load = threading.Thread(target=post)
        load.start()
        try:
            wait_until(lambda: is_under_way(here, running) and len(accepted) > 10, _SOON_S)
            primary = servers.primary()
            assert primary.child.pid
            killed_at = time.monotonic()
            before = len(accepted)
            os.kill(primary.child.pid, how)
            wait_until(lambda: len(accepted) >= before + 10, _SOON_S)
        finally:
            enough.set()
            load.join()
            if how is signal.SIGSTOP and primary.child.pid:
                os.kill(primary.child.pid, signal.SIGCONT)
        assert servers.primary() is not primary
        lost = [job_id for job_id in accepted if "status" not in here.view(job_id)]
        for job_id in lost:
            assert abs(accepted[job_id] - killed_at) < _NOT_PROMISED_S
        print(f"{len(accepted)} accepted, {len(lost)} lost with the primary")
        kept = [running, *(job_id for job_id in accepted if job_id not in lost)]
        wait_until(
            lambda: all(here.view(job_id)["status"] == "succeeded" for job_id in kept), _SOON_S
        )
        assert {process.poll() for process in here.processes.values()} == {None}  # nobody ended

        undisturbed = here.post("undisturbed", **LONG)
        wait_until(lambda: here.view(undisturbed)["status"] == "succeeded", _SOON_S)
        digests = {here.view(job_id)["result"]["sha256"] for job_id in (running, undisturbed)}
        assert len(digests) == 1
