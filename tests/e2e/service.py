"""An API and a janitor in processes of their own, and the workers that a test starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.deploy.local.ports import free_port
from tests.processes import Process, process, wait_until


@dataclass
class Service:
    """All its processes write to one log, and end with the tests that share it."""

    settings: Settings
    http: httpx.Client
    processes: ExitStack
    log: Path
    worker: Process | None = None

    def start_worker(self) -> None:
        self.worker = self.processes.enter_context(process("worker", self.settings, self.log))

    def post(self, **body: object) -> Any:
        answer = self.http.post("/panoramas", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def read(self, job_id: str) -> Any:
        return self.http.get(f"/panoramas/{job_id}").json()

    def wait(self, job_id: str, status: str, timeout_s: float = 120) -> Any:
        wait_until(lambda: self.read(job_id)["status"] == status, timeout_s, self.log)
        return self.read(job_id)


@contextmanager
def serving(settings: Settings, log: Path, **changes: object) -> Iterator[Service]:
    """On the test's servers, emptied. With short leases a lost worker is found soon."""
    update = {
        "device": "cpu",
        "port": free_port(),
        "lease_s": 3.0,
        "heartbeat_s": 0.5,
        "janitor_interval_s": 0.5,
        **changes,
    }
    here = settings.model_copy(update=update)
    with (
        ExitStack() as processes,
        connect(here) as redis,
        httpx.Client(base_url=f"http://127.0.0.1:{here.port}", timeout=10) as http,
    ):
        redis.flushall()
        for command in ("api", "janitor"):
            processes.enter_context(process(command, here, log))
        wait_until(lambda: is_up(http), 60, log)
        yield Service(here, http, processes, log)


def is_up(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def is_ready(redis: Redis, model: str) -> bool:
    state = models.get(redis, model)
    return state is not None and state.state == "ready"


def steps_done(job: Any) -> int:
    return job["progress"]["step"] if job["progress"] else 0
