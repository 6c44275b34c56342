"""What Redis does for each part of a panorama, and how that grows with workers, with what waits,
and with the tenants that wait.

    python -m bench.fleet.costs [--report docs/scale.md]

CPU time is Redis's own: what this machine does beside it counts less than in waits, but it counts.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr
from redis import Redis

from bench.fleet.backlog import fill, tenant
from bench.sections import machine, parser, publish, table
from panoweave.core.infra.redis import connect
from panoweave.core.infra.redis_keys import TENANTS_COUNTED_OF
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from tests.jobs.samples import TRAITS, new_record, progress, result_of

# Latents of 3,072 x 512 px in float32, of four channels.
_SAVEPOINT_BYTES: Final = 4 * 64 * 384 * 4
_WORKERS: Final = (10, 100, 1_000)
_WAITING: Final = 3_000
_TENANTS: Final = 100
_BACKLOGS: Final = (1_000, 10_000, 100_000)
_WAITING_TENANTS: Final = (10, 100, 1_000, 10_000)
_JOBS_OF_EACH: Final = 3
_PAGE: Final = 100
_ANY_NUMBER: Final = 10_000_000


class Cost(NamedTuple):
    commands: float
    received: float  # bytes
    sent: float
    cpu_us: float
    memory: float  # bytes that stay


def cost(redis: Redis, call: Callable[[], object], times: int = 200) -> Cost:
    """Of one call."""
    call()
    before = _figures(redis)
    for _ in range(times):
        call()
    after = _figures(redis)
    return Cost(*((b - a) / times for a, b in zip(before, after, strict=True)))


def _figures(redis: Redis) -> Cost:
    stats, cpu = redis.info("stats"), redis.info("cpu")
    return Cost(
        stats["total_commands_processed"],
        stats["total_net_input_bytes"],
        stats["total_net_output_bytes"],
        (cpu["used_cpu_sys"] + cpu["used_cpu_user"]) * 1e6,
        redis.info("memory")["used_memory"],
    )


@contextmanager
def empty_redis() -> Iterator[tuple[Redis, Settings]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with RedisServer(folder / "redis", folder / "logs") as server:
            url = SecretStr(server.url)
            settings = Settings(
                redis_url=url, max_queued=_ANY_NUMBER, tenant_max_queued=_ANY_NUMBER
            )
            with connect(settings, timeout_s=30) as redis:
                yield redis, settings


def of_one_job() -> list[tuple[str, Cost]]:
    with empty_redis() as (redis, settings):
        store, savepoints = JobStore(redis, settings), Savepoints(redis, settings)
        accepted = ("accepted", cost(redis, lambda: store.create(new_record())))
        running = store.claim("worker", "embedded")
        assert running is not None
        assert running.token is not None
        job_id, token = running.id, running.token
        steps, body = itertools.count(1), bytes(_SAVEPOINT_BYTES)

        def make() -> None:
            claimed = store.claim("worker", "embedded")
            assert claimed is not None
            assert claimed.token is not None
            store.succeed(claimed.id, claimed.token, result_of(claimed))

        return [
            accepted,
            ("claimed, and succeeded", cost(redis, make, 100)),
            (
                "a step",
                cost(redis, lambda: store.report(job_id, token, progress(next(steps) % 50))),
            ),
            ("a heartbeat", cost(redis, lambda: store.heartbeat(job_id, token))),
            ("a savepoint", cost(redis, lambda: savepoints.save(job_id, token, body), 20)),
            ("read by its id", cost(redis, lambda: store.get(job_id))),
        ]


def by_workers() -> list[list[str]]:
    """Milliseconds of Redis for what looks at all workers, each of which is making a panorama."""
    rows = []
    with empty_redis() as (redis, settings):
        store, queue = JobStore(redis, settings), Queue(redis)
        waiting = [store.create(new_record(f"t{n % _TENANTS}")) for n in range(_WAITING)]
        started = 0
        for workers in _WORKERS:
            for number in range(started, workers):
                start(redis, store, f"worker-{number}")
            started = workers
            calls = (
                queue.top_up,
                lambda: queue.estimate([waiting[-1]]),
                lambda: queue.demand("embedded"),
            )
            times = [cost(redis, call, 50).cpu_us / 1_000 for call in calls]
            rows.append([f"{workers:,}", *(f"{each:.2f}" for each in times)])
    return rows


def by_waiting() -> list[list[str]]:
    """Milliseconds of Redis for what is done while so many panoramas wait, without workers."""
    rows = []
    with empty_redis() as (redis, settings):
        store, queue = JobStore(redis, settings), Queue(redis)
        for backlog in _BACKLOGS:
            fill(store, "embedded", backlog - store.counts().queued, _TENANTS)
            last = store.create(new_record(tenant(0)))

            def claim() -> None:
                record = store.claim("worker", "embedded")
                assert record is not None
                assert record.token is not None
                store.requeue(record.id, record.token, "preempted")

            calls: tuple[Callable[[], object], ...] = (
                lambda: store.create(new_record()),
                claim,
                lambda last=last: queue.estimate([last]),  # type: ignore[misc]
                queue.compare,
            )
            times = [cost(redis, call, 20).cpu_us / 1_000 for call in calls]
            parts = scripts_of(redis, queue.compare)
            rows.append([f"{backlog:,}", *(f"{each:.2f}" for each in times), f"{parts:,}"])
    return rows


def by_tenants() -> list[list[str]]:
    """Milliseconds of Redis for what is done while so many tenants wait, without workers."""
    return [
        [f"{tenants:,}", *(f"{each:.2f}" for each in _with_tenants(tenants))]
        for tenants in _WAITING_TENANTS
    ]


def _with_tenants(tenants: int) -> list[float]:
    with empty_redis() as (redis, settings):
        store, queue = JobStore(redis, settings), Queue(redis)
        fill(store, "embedded", tenants * _JOBS_OF_EACH, tenants)
        page = store.create_all([new_record(tenant(tenants // 2)) for _ in range(_PAGE)])

        def count_anew() -> None:
            redis.delete(f"{TENANTS_COUNTED_OF}embedded")
            queue.estimate(page[-1:])

        calls: tuple[Callable[[], object], ...] = (
            lambda: store.create(new_record()),
            lambda: queue.estimate(page[-1:]),
            lambda: queue.estimate(page),
            lambda: queue.demand("embedded"),
            count_anew,
        )
        return [cost(redis, call, 20).cpu_us / 1_000 for call in calls]


def scripts_of(redis: Redis, call: Callable[[], object]) -> int:
    def count() -> int:
        calls: int = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
        return calls

    before = count()
    call()
    return count() - before


def start(redis: Redis, store: JobStore, name: str) -> None:
    state = ModelState(
        model="embedded", state="ready", traits=TRAITS, perceptual="stlpips-alex", worker=name
    )
    models.publish(redis, state)
    record = store.claim(name, "embedded")
    assert record is not None
    assert record.token is not None
    store.report(record.id, record.token, progress(10))


def publish_parts(report: Path | None) -> None:
    head = ["a panorama is", "commands", "bytes in", "bytes out", "CPU, us", "memory that stays"]
    rows = [[name, *(f"{max(0, value):,.0f}" for value in found)] for name, found in of_one_job()]
    looks = ["tickets after a POST or an end, ms", "estimate of a waiting panorama, ms"]
    text = (
        f"{_begin()}what Redis does when\n\n"
        f"{table(head, rows)}\n\nand how long it computes, with {_WAITING:,} waiting panoramas of "
        f"{_TENANTS} tenants:\n\n{table(['workers', *looks, '/scaling, ms'], by_workers())}"
    )
    publish("fleet costs", text, report)


def publish_backlog(report: Path | None) -> None:
    head = ["waiting", "accepted, ms", "claimed and given back, ms", "estimate, ms"]
    head += ["comparing, ms", "in parts"]
    text = (
        f"{_begin()}how long Redis computes, with panoramas of "
        f"{_TENANTS} tenants waiting. Once a minute a janitor compares the queues; Redis answers "
        f"others between the parts.\n\n"
        f"{table(head, by_waiting())}"
    )
    publish("fleet backlog", text, report)


def publish_tenants(report: Path | None) -> None:
    head = ["tenants", "accepted, ms", "estimate, ms", f"of {_PAGE} at once, ms"]
    head += ["/scaling, ms", "one that counts anew, ms"]
    text = (
        f"{_begin()}how long Redis computes, with "
        f"{_JOBS_OF_EACH} panoramas of each tenant waiting, and {_PAGE} more of the one that asks."
        f"\n\n{table(head, by_tenants())}"
    )
    publish("fleet tenants", text, report)


def _begin() -> str:
    return f"`python -m bench.fleet.costs` on {machine()}: "


def main() -> None:
    asked = parser(__doc__).parse_args()
    for part in (publish_parts, publish_backlog, publish_tenants):
        part(asked.report)


if __name__ == "__main__":
    main()
