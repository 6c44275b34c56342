"""`panoweave worker --gpus 2`, on CPUs: a rank is killed, the worker is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from panoweave.worker.ranks import EXIT_RANK_LOST
from tests.faults.arena import LONG, Arena, arena, is_under_way
from tests.processes import Process, environment_of, wait_until

_SOON_S = 240  # two processes start, on a busy machine


@contextmanager
def worker(here: Arena, log: Path) -> Iterator[Process]:
    running = Process("worker --gpus 2", environment_of(here.settings), log)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def other_rank(worker: Process) -> int | None:
    """The process id of the second rank."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            is_child = f"\nPPid:\t{worker.pid}\n" in status.read_text()
            command = (status.parent / "cmdline").read_text()
            if is_child and "panoweave.deploy.serve.ranks" in command:
                return int(status.parent.name)
    return None


def has_ended(process_id: int) -> bool:
    """Also if nobody has asked for its exit status."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lost_rank_ends_the_attempt_and_another_group_goes_on(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    log = tmp_path / "worker.log"
    names = ("api-1", "janitor-1")
    with arena(tmp_path, tiny_checkpoint, names, savepoint_every_s=60) as here:
        with worker(here, log) as first:
            wait_until(lambda: here.ready_workers() == 1, _SOON_S, log)
            whole = here.post("whole", **LONG)
            wait_until(lambda: here.view(whole)["status"] == "succeeded", _SOON_S, log)
            job_id = here.post("shared", **LONG)
            wait_until(lambda: is_under_way(here, job_id), _SOON_S, log)
            rank = other_rank(first)
            assert rank
            os.kill(rank, signal.SIGKILL)
            assert first.wait(30) == EXIT_RANK_LOST
            assert here.view(job_id)["status"] == "queued"  # before any lease has ended
        with worker(here, log) as second:
            wait_until(lambda: is_under_way(here, job_id), _SOON_S, log)
            second.send_signal(signal.SIGTERM)  # to the group's first process
            assert second.wait(60) == 0
            assert other_rank(second) is None
        # If it was nearly done, the second worker finished it; else it goes on in the third.
        with worker(here, log) as third:
            wait_until(lambda: here.view(job_id)["status"] == "succeeded", _SOON_S, log)
            wait_until(lambda: here.ready_workers() == 1, _SOON_S, log)
            rank = other_rank(third)
            assert rank
            third.kill()
            wait_until(lambda: has_ended(rank), 10)  # no rank outlives the first
        assert "resumed after step" in log.read_text()
        digests = {here.view(each)["result"]["sha256"] for each in (whole, job_id)}
        assert len(digests) == 1
