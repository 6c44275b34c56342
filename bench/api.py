"""The API under load: how fast it takes panoramas in, and how many polls it answers.

    python -m bench.api [--report docs/benchmarks.md]

One API process as `panoweave api` runs it, a real Redis, and a worker that makes panoramas in no
time; this process sends the load. POSTs come at a fixed rate whether or not earlier ones were
answered, and are timed from the moment they were due: a server that stalls does not slow its own
measurement. Polls come as fast as they are answered.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from pydantic import SecretStr

from bench.sections import machine, parser, publish, table
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import DEFAULT_TENANT, JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from panoweave.deploy.local.ports import LOOPBACK, free_port
from panoweave.deploy.local.servers import RedisServer
from tests.jobs.samples import TRAITS, result_of

RATE: Final = 300  # POSTs a second
QUEUES: Final = (0, 10_000)
POLLERS: Final = 16
CONNECTIONS: Final = 64
_ANY_NUMBER: Final = 10_000_000
_PREPARING_S: Final = 0.5  # before the first is due


class Figures(NamedTuple):
    queued: int
    posts_per_s: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    polls_per_s: float


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    figures = [_median(each) for each in zip(*_rounds(asked.rounds, asked.seconds), strict=True)]
    head = ["jobs queued", "POST/s", "p50, ms", "p99, ms", "worst, ms", "polls/s"]
    rows = [
        [f"{each.queued:,}", f"{each.posts_per_s:.0f}"]
        + [f"{value:.1f}" for value in (each.p50_ms, each.p99_ms, each.worst_ms)]
        + [f"{each.polls_per_s:.0f}"]
        for each in figures
    ]
    text = (
        f"`python -m bench.api` on {machine()}: medians of {asked.rounds} rounds of "
        f"{asked.seconds:g} s, in turn.\n\n{table(head, rows)}"
    )
    publish("api", text, asked.report)


def _rounds(rounds: int, seconds: float) -> list[list[Figures]]:
    return [[measure(queued, seconds) for queued in QUEUES] for _ in range(rounds)]


def _median(figures: Sequence[Figures]) -> Figures:
    queued, *others = zip(*figures, strict=True)
    return Figures(queued[0], *(statistics.median(values) for values in others))


def measure(queued: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), queued) as (host, port):
        return asyncio.run(_load(host, port, queued, seconds))


@contextmanager
def serving(folder: Path, queued: int) -> Iterator[tuple[str, int]]:
    """The API on a Redis with so many jobs queued; with a worker where none is to wait."""
    with RedisServer(folder / "redis", folder / "logs") as server:
        settings = Settings(
            redis_url=SecretStr(server.url),
            port=free_port(),
            max_queued=_ANY_NUMBER,
            tenant_max_queued=_ANY_NUMBER,
        )
        _fill(settings, queued)
        worker = multiprocessing.Process(target=_work, args=(settings,), daemon=True)
        environment = os.environ | {
            "PANOWEAVE_REDIS_URL": server.url,
            "PANOWEAVE_PORT": str(settings.port),
            "PANOWEAVE_TENANT_WRITES_PER_MINUTE": "1000000",
            "PANOWEAVE_TENANT_READS_PER_MINUTE": "1000000",
            "PANOWEAVE_ANONYMOUS": "loopback",
            "PANOWEAVE_MAX_QUEUED": str(_ANY_NUMBER),
            "PANOWEAVE_TENANT_MAX_QUEUED": str(_ANY_NUMBER),
            "PANOWEAVE_LOG_LEVEL": "WARNING",
            "PANOWEAVE_S3_ACCESS_KEY_ID": "none",
            "PANOWEAVE_S3_SECRET_ACCESS_KEY": "none",
        }
        command = [sys.executable, "-P", "-m", "panoweave.deploy.cli", "api"]
        with subprocess.Popen(command, env=environment) as api:
            try:
                _wait_until_ready(settings.port)
                if not queued:
                    worker.start()
                yield LOOPBACK, settings.port
            finally:
                api.terminate()
                if worker.pid:
                    worker.kill()


def _fill(settings: Settings, queued: int) -> None:
    with connect(settings) as redis:
        state = ModelState(
            model=settings.model,
            state="ready",
            traits=TRAITS,
            perceptual=settings.perceptual,
            worker="bench",
        )
        models.publish(redis, state)
        store, queue = JobStore(redis, settings), Queue(redis)
        params = PanoramaParams(prompt="a lake").resolve(TRAITS)
        for _ in range(queued):
            store.create(JobRecord.new(params, settings.model, DEFAULT_TENANT, {}))
            queue.add_ticket(settings.model)


def _work(settings: Settings) -> None:
    """Each panorama in no time, out of the way of what is measured."""
    os.nice(19)
    with connect(settings) as redis:
        store, queue = JobStore(redis, settings), Queue(redis)
        while True:
            record = store.claim("bench", settings.model)
            if record is None:
                time.sleep(0.005)
                continue
            assert record.token is not None
            store.succeed(record.id, record.token, result_of(record))
            redis.lpop(queue.tickets(settings.model).key)


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://{LOOPBACK}:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the API did not start")


class Connections:
    """A few connections that are kept open: a client costs the machine that is measured little."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._idle = asyncio.Queue()

    async def open(self, count: int) -> None:
        for _ in range(count):
            self._idle.put_nowait(await asyncio.open_connection(*self._address))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        reader, writer = await self._idle.get()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            return int(head[9:12]), await reader.readexactly(length)
        finally:
            self._idle.put_nowait((reader, writer))


async def _load(host: str, port: int, queued: int, seconds: float) -> Figures:
    connections = Connections(host, port)
    await connections.open(CONNECTIONS)
    body = json.dumps({"prompt": "a lake", "metadata": {"order": 7}}).encode()
    post = (
        f"POST /panoramas HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    await _posts(connections, post, 1.0)  # warm
    took_s, ids = await _posts(connections, post, seconds)
    polls_per_s = await _polls(connections, host, ids[-1], seconds / 2)
    ordered = sorted(took_s)
    return Figures(
        queued,
        len(ordered) / seconds,
        statistics.median(ordered) * 1_000,
        ordered[int(len(ordered) * 0.99)] * 1_000,
        ordered[-1] * 1_000,
        polls_per_s,
    )


async def _posts(
    connections: Connections, request: bytes, seconds: float
) -> tuple[list[float], list[str]]:
    """How long each took from when it was due, and the ids of the jobs."""
    begun = time.perf_counter() + _PREPARING_S

    async def post(number: int) -> tuple[float, str]:
        due = begun + number / RATE
        await asyncio.sleep(due - time.perf_counter())
        status, body = await connections.send(request)
        took_s = time.perf_counter() - due
        assert status == 202, body
        return took_s, json.loads(body)["id"]

    done = await asyncio.gather(*[post(number) for number in range(int(RATE * seconds))])
    return [took_s for took_s, _ in done], [job_id for _, job_id in done]


async def _polls(connections: Connections, host: str, job_id: str, seconds: float) -> float:
    request = f"GET /panoramas/{job_id} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    until, answered = time.perf_counter() + seconds, 0

    async def poll() -> None:
        nonlocal answered
        while time.perf_counter() < until:
            status, body = await connections.send(request)
            assert status == 200, body
            answered += 1

    await asyncio.gather(*[poll() for _ in range(POLLERS)])
    return answered / seconds


if __name__ == "__main__":
    main()
