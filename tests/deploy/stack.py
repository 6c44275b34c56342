"""The `panoweave` command as a person runs it: in a process of its own, on real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import httpx
import pytest

from panoweave.core.infra import redis_keys
from panoweave.deploy.admin.tenants import redis_of
from panoweave.deploy.local.data_dir import DataDir, StackState
from panoweave.deploy.local.ports import LOOPBACK, free_port
from tests.processes import wait_until

COMMAND = [sys.executable, "-P", "-m", "panoweave.deploy.cli"]

Cli = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without its settings; 100 columns, no colours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PANOWEAVE_") and k != "PROMPT"}
    return {**kept, "COLUMNS": "100", "NO_COLOR": "1", **more}


def with_panoweave(env: dict[str, str], folder: Path, data: Path) -> dict[str, str]:
    """An environment with a `panoweave` that speaks to the stack on this data directory."""
    commands = folder / "commands"
    commands.mkdir()
    shim = commands / "panoweave"
    shim.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@" --data {data}\n')
    shim.chmod(0o755)
    python = Path(sys.executable).parent
    return {**env, "PATH": f"{commands}:{python}:{env['PATH']}"}


class RunningStack:
    """A `panoweave up` with a tiny model, in the background."""

    def __init__(
        self,
        data: Path,
        model: Path,
        *,
        wait_for: Literal["all", "api", "nothing"] = "all",
        host: str = LOOPBACK,
        **env: str,
    ) -> None:
        self.home = DataDir(data)
        self.port = free_port()
        self.output = data.parent / f"{data.name}.up.txt"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--data", str(data), "--port", str(self.port)],
                env=environment(
                    PANOWEAVE_MODEL=str(model),
                    PANOWEAVE_HOST=host,
                    PANOWEAVE_WEBHOOK_TEST_TARGETS="true",
                    **env,
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        api_url = f"http://{host}:{self.port}"
        self.http = httpx.Client(base_url=api_url, timeout=10, follow_redirects=True)
        if wait_for != "nothing":
            wait_until(self._is_up if wait_for == "all" else self._api_is_up, 120, self.said)

    def state(self) -> StackState:
        state = self.home.running()
        assert state is not None, self.said()
        return state

    def said(self) -> str:
        return self.output.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 90) -> int:
        self.http.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # A second request writes down what it is doing, and kills what does not end.
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            stacks = (self.home.logs / "up.stacks.log").read_text()
            pytest.fail(f"it had not ended after {timeout_s:g} s:\n{self.said()}\n{stacks}")

    def open_again(self) -> None:
        """Once there was a key, a stack asks for keys for good. Tests share one."""
        with redis_of(self.home.root) as redis:
            redis.delete(redis_keys.API_KEYS, redis_keys.API_KEY_WAS_MADE)

    def kill(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()

    def make_panorama(self, **params: object) -> dict[str, object]:
        """Post one and wait for its end."""
        job = self.http.post(
            "/panoramas", json={"prompt": "a lake", "steps": 2, "width": 128, **params}
        ).json()
        wait_until(lambda: self._status(job["id"]) in ("succeeded", "failed", "cancelled"), 120)
        ended: dict[str, object] = self.http.get(f"/panoramas/{job['id']}").json()
        return ended

    def _status(self, job_id: str) -> str:
        status: str = self.http.get(f"/panoramas/{job_id}").json()["status"]
        return status

    def _api_is_up(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.said()
        state = self.home.running()
        return state is not None and state.ready


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that is dead and not yet reaped doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
