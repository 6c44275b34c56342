"""All processes of panoweave, on servers of their own, to be killed, frozen or cut off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import RedisServer, S3Server
from tests.processes import Process, environment_of
from tests.receivers import Receiver, receiving

TENANT = "default"

LONG = {"width": 192, "stride": 32, "steps": 120}  # some seconds of the tiny model
DEFAULTS = Settings.model_fields
AS_INSTALLED: dict[str, Any] = {
    name: DEFAULTS[name].default
    for name in ("lease_s", "heartbeat_s", "janitor_interval_s", "savepoint_every_s")
}


class Arena:
    """Servers are started from the thread that made it: they live no longer than that thread."""

    def __init__(
        self,
        folder: Path,
        redis: RedisServer,
        s3: S3Server,
        receiver: Receiver,
        settings: Settings,
        log: Path | None,
    ) -> None:
        with connect(settings) as client:
            receiver.secret = WebhookSecrets(client).create(TENANT).secret.get_secret_value()
        self.redis_server, self.s3_server, self.receiver = redis, s3, receiver
        self.settings = settings
        self.api_url = f"http://127.0.0.1:{settings.port}"
        self.processes: dict[str, Process] = {}
        self._sessions: set[int] = set()  # each process leads one
        self.http = httpx.Client(base_url=self.api_url, timeout=10)
        self._folder = folder
        self._log = log

    def start(self, name: str) -> None:
        """`worker-1` runs `panoweave worker`."""
        log = self._log or self._folder / f"{name}.log"
        process = Process(name.partition("-")[0], environment_of(self.settings), log)
        self.processes[name] = process
        self._sessions.add(process.pid)

    def send(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def tend(self) -> None:
        """Restart the processes that ended, as a supervisor would."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name)

    def restart_redis(self, away_s: float) -> None:
        """Kill Redis and start it again: what was not yet in its append-only file is lost."""
        self.redis_server.child.kill()
        time.sleep(away_s)
        self.redis_server.start()

    def stop(self) -> None:
        """SIGTERM, as an operator would; frozen processes are continued first."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except TimeoutError:
                process.kill()
                process.wait()

    def left_running(self) -> list[str]:
        """Processes of this arena that should be gone."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # gone meanwhile
                if os.getsid(int(folder.name)) in self._sessions:
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
        return found

    def ready_workers(self) -> int:
        with connect(self.settings) as redis:
            live = models.live_workers(redis)
        return sum(state.state == "ready" for state in live)

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def post(self, key: str, **fields: Any) -> str:
        """Post as a client with an idempotency key does, until it is accepted. The job's id."""
        body = {"prompt": "a lake", "width": 128, "stride": 64, "seed": 1, **fields}
        answer = self.ask("POST", "/panoramas", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def view(self, job_id: str) -> dict[str, Any]:
        body: dict[str, Any] = self.ask("GET", f"/panoramas/{job_id}").json()
        return body

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask until the API answers with less than 500, and not with a conflict."""
        deadline = time.monotonic() + 120
        while True:
            try:
                answer = self.http.request(method, path, **more)
                if answer.status_code < 500 and answer.status_code != 409:
                    return answer
                last = answer.text
            except httpx.TransportError as error:
                last = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: {last}"
            time.sleep(0.2)


@contextmanager
def arena(
    folder: Path,
    checkpoint: Path,
    names: Sequence[str],
    log: Path | None = None,
    **changes: object,
) -> Iterator[Arena]:
    """Start these processes, with short leases so that tests need not wait long.

    `log`: where all processes write to; None: a file each, in the folder.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder / "redis", folder / "logs"))
        s3 = stack.enter_context(
            S3Server(
                folder / "s3",
                folder / "logs",
                bucket="panoweave",
                access_key_id="arena-key",
                secret_access_key="arena-secret",
            )
        )
        receiver = stack.enter_context(receiving())
        update: dict[str, object] = {
            "redis_url": SecretStr(redis.url),
            "s3_endpoint": s3.endpoint,
            "s3_access_key_id": SecretStr("arena-key"),
            "s3_secret_access_key": SecretStr("arena-secret"),
            "model": str(checkpoint),
            "device": "cpu",
            "port": free_port(),
            "anonymous": "loopback",
            "lease_s": 3.0,
            "heartbeat_s": 1.0,
            "janitor_interval_s": 0.5,
            "savepoint_every_s": 0.5,
            "webhook_test_targets": True,
            **changes,
        }
        made = Arena(folder, redis, s3, receiver, Settings().model_copy(update=update), log)
        try:
            for name in names:
                made.start(name)
            yield made
        finally:
            os.kill(_pid(s3), signal.SIGCONT)
            made.stop()
            made.http.close()


def _pid(server: RedisServer | S3Server) -> int:
    pid = server.child.pid
    assert pid is not None
    return pid


def freeze_s3(arena: Arena, away_s: float, until: Callable[[], bool] = lambda: False) -> None:
    """S3 accepts connections and answers nothing, for `away_s` or until something is true."""
    os.kill(_pid(arena.s3_server), signal.SIGSTOP)
    try:
        deadline = time.monotonic() + away_s
        while time.monotonic() < deadline and not until():
            time.sleep(0.1)
    finally:
        os.kill(_pid(arena.s3_server), signal.SIGCONT)


def objects_of(arena: Arena) -> list[str]:
    store = ObjectStore(arena.settings)
    try:
        return store.list("")
    finally:
        store.close()


def is_under_way(here: Arena, job_id: str) -> bool:
    view = here.view(job_id)
    step: int = (view["progress"] or {}).get("step", 0)
    return view["status"] == "running" and step > 3
