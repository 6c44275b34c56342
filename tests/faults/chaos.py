"""Many panoramas while everything dies: what may happen, and what must be true afterwards.

    python -m tests.faults.chaos [--jobs 500] [--seed N] [--report docs/reliability.md]

Workers, API and janitor are killed and frozen, Redis is killed and comes back, S3 answers nothing
for a while, all at random. Afterwards everything is looked at from outside: over HTTP, in S3, in
what the receiver of the webhooks got.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from redis import Redis

from bench.sections import publish, table
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect
from panoweave.core.jobs import events
from panoweave.core.jobs.events import Event
from panoweave.core.jobs.record import TERMINAL
from tests.core import tiny
from tests.faults.arena import TENANT, Arena, arena, freeze_s3, objects_of

NAMES: Final = ("worker-1", "worker-2", "api-1", "janitor-1", "janitor-2")
STEPS: Final = 30
_CLIENTS: Final = 4
_LOST_WITH_REDIS_S: Final = 1.5  # its append-only file is written every second
_LIMIT_S: Final = 240.0
_FORGOTTEN: Final = "forgotten"
_FILES: Final = ("panorama.png", "preview.jpg", "metadata.json")
_ENDS: Final = {status.value for status in TERMINAL}
# What stays in Redis by design, each with its own time to live or bounded by its nature.
_KEPT_KEYS: Final = (
    *("job", "events", "index", "expiry", "served", "turn", "models", "workers", "worker"),
    "without_tiny_decoder",
    *(
        "run_times_of",
        "served_of",
        "ended",
        "requeued",
        "delivery",
        "deliveries",
        "delivery_attempts",
    ),
    *("outbox_tenants", "outbox_tenants_later", "outbox_served"),
    *("idempotency", "idempotency_of", "webhook_secrets", "claim", "batch"),
    *("speeds", "kept_bytes", "kept_bytes_of", "usage", "rate"),
)


@dataclass
class Report:
    seed: int
    jobs: int
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0  # taken in less than a second before Redis died
    recoveries_s: list[float] = field(default_factory=list)
    steps: int = 0
    steps_again: int = 0
    took_s: float = 0

    def rows(self) -> list[list[str]]:
        lost = sorted(self.recoveries_s) or [0.0]
        named = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        return [
            ["seed", str(self.seed)],
            [
                "panoramas",
                f"{self.jobs}: " + ", ".join(f"{n} {end}" for end, n in self.ends.items()),
            ],
            ["faults", f"{self.faults.total()}: {named}"],
            ["forgotten with Redis's last second", str(self.forgotten)],
            [
                "from the last sign of a lost worker to the next attempt",
                f"median {statistics.median(lost):.1f} s, longest {lost[-1]:.1f} s, "
                f"{len(self.recoveries_s)} times",
            ],
            [
                "steps done again",
                f"{self.steps_again} of {self.steps} ({self.steps_again / max(self.steps, 1):.1%})",
            ],
            ["the whole run", f"{self.took_s:.0f} s"],
        ]


def run(folder: Path, checkpoint: Path, jobs: int, seed: int) -> Report:
    """Raises AssertionError where something was lost."""
    begun = time.monotonic()
    report, chance = Report(seed, jobs), random.Random(seed)
    with arena(folder, checkpoint, NAMES, max_attempts=5) as here:
        _wait(lambda: here.ready_workers() == 2, here, "two workers")
        clients = Clients(here, jobs, seed)
        redis_deaths = _make_trouble(here, clients, chance, report)
        ids = clients.ids()
        _wait(lambda: _all_ended(here, ids), here, "every end")
        _wait(lambda: _all_notified(here, ids), here, "every webhook")
        time.sleep(2 * here.settings.lease_s + 3)  # until what nobody needs has been removed
        _check(here, clients, redis_deaths, report)
        here.stop()
        assert here.left_running() == []
    report.took_s = time.monotonic() - begun
    return report


class Clients:
    """Ask for panoramas, one after the other, and call one in ten off again."""

    def __init__(self, here: Arena, jobs: int, seed: int) -> None:
        self._here = here
        self.taken_in: dict[str, tuple[str, float]] = {}  # key -> id, when
        self._chance = random.Random(seed + 1)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_CLIENTS)
        self._all: list[Future[None]] = [
            self._pool.submit(self._one, f"chaos-{number}", self._chance.random() < 0.1)
            for number in range(jobs)
        ]

    def _one(self, key: str, is_called_off: bool) -> None:
        webhook = {"url": self._here.receiver.url}
        job_id = self._here.post(key, steps=STEPS, webhook=webhook)
        with self._lock:
            self.taken_in[key] = job_id, time.time()
        if is_called_off:
            time.sleep(self._chance.random())
            self._here.ask("POST", f"/panoramas/{job_id}/cancel")

    def are_done(self) -> bool:
        return all(each.done() for each in self._all)

    def ids(self) -> list[str]:
        for each in self._all:
            each.result()
        self._pool.shutdown()
        return [job_id for job_id, _ in self.taken_in.values()]


def _make_trouble(
    here: Arena, clients: Clients, chance: random.Random, report: Report
) -> list[float]:
    """At most one fault a panorama, until four fifths have ended; when Redis died."""
    redis_deaths: list[float] = []
    frozen_until: dict[str, float] = {}

    def tend() -> bool:
        for name, until in list(frozen_until.items()):
            if time.monotonic() > until:
                here.send(name, signal.SIGCONT)
                del frozen_until[name]
        here.tend()
        return False

    def freeze(name: str) -> None:
        here.send(name, signal.SIGSTOP)
        frozen_until[name] = time.monotonic() + here.settings.lease_s + chance.uniform(1, 3)

    def kill_redis() -> None:
        redis_deaths.append(time.time())
        here.restart_redis(chance.uniform(0.2, 2))

    def any_worker() -> str:
        return chance.choice([name for name in NAMES if name.startswith("worker")])

    def any_other() -> str:
        return chance.choice([name for name in NAMES if not name.startswith("worker")])

    kinds: dict[str, tuple[int, Callable[[], None]]] = {
        "worker killed": (3, lambda: here.send(any_worker(), signal.SIGKILL)),
        "worker frozen": (2, lambda: freeze(any_worker())),
        "worker asked to leave": (2, lambda: here.send(any_worker(), signal.SIGTERM)),
        "API or janitor killed": (3, lambda: here.send(any_other(), signal.SIGKILL)),
        "Redis killed": (1, kill_redis),
        "S3 silent": (2, lambda: freeze_s3(here, chance.uniform(0.5, 4), tend)),
    }
    needs_worker = {kind for kind in kinds if kind.startswith("worker")}
    deadline = time.monotonic() + _LIMIT_S + 4 * report.jobs
    while not (clients.are_done() and _ended_share(here, clients) > 0.8):
        assert time.monotonic() < deadline, "the panoramas are not made"
        tend()
        time.sleep(chance.uniform(1, 3))
        # On a slow machine faults could come faster than workers load, and nothing would be made.
        if report.faults.total() >= report.jobs:
            continue
        weights = [weight for weight, _ in kinds.values()]
        kind = chance.choices(list(kinds), weights)[0]
        # Workers take seconds to load: those that live are to get something done in between.
        if kind in needs_worker and (frozen_until or here.ready_workers() < 2):
            continue
        report.faults[kind] += 1
        kinds[kind][1]()
    for name in frozen_until:
        here.send(name, signal.SIGCONT)
    time.sleep(0.5)  # the process that was killed last is dead by then, and started again
    return redis_deaths


def _ended_share(here: Arena, clients: Clients) -> float:
    with connect(here.settings) as redis:
        counts: list[Any] = [redis.zcard(redis_keys.index(TENANT, end)) for end in TERMINAL]
    return float(sum(counts)) / max(len(clients.taken_in), 1)


def _wait(is_true: Callable[[], bool], here: Arena, what: str) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while True:
        here.tend()  # first: what is asked may need the API
        if is_true():
            return
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.3)


def _all_ended(here: Arena, ids: list[str]) -> bool:
    over = {*_ENDS, _FORGOTTEN}
    return all(here.view(job_id).get("status", _FORGOTTEN) in over for job_id in ids)


def _all_notified(here: Arena, ids: list[str]) -> bool:
    notified = {each.payload["data"]["id"] for each in list(here.receiver.received)}
    gone = {job_id for job_id in ids if "status" not in here.view(job_id)}
    return notified >= set(ids) - gone


def _check(here: Arena, clients: Clients, redis_deaths: list[float], report: Report) -> None:
    views: dict[str, dict[str, Any]] = {}
    for job_id, at in clients.taken_in.values():
        view = here.view(job_id)
        if "status" in view:
            views[job_id] = view
            continue
        assert any(0 <= death - at < _LOST_WITH_REDIS_S for death in redis_deaths), job_id
        report.forgotten += 1
    report.ends = Counter(view["status"] for view in views.values())
    assert set(report.ends) <= _ENDS
    with connect(here.settings) as redis:
        for view in views.values():
            _check_history(redis, view, here.settings.max_attempts, report)
        _check_keys(redis)
    _check_pictures(here, views)
    _check_webhooks(here, views, redis_deaths)
    assert report.steps_again <= 0.1 * report.steps, report.rows()


def _check_history(redis: Redis, view: dict[str, Any], max_attempts: int, report: Report) -> None:
    history = events.read(redis, view["id"], limit=1_000)
    assert [event.type for event in history if event.type in _ENDS] == [view["status"]], history
    losses = [event for event in history if event.data.get("reason") == "worker_lost"]
    assert len(losses) <= max_attempts
    steps = [event.data["step"] for event in history if event.data.get("phase") == "denoising"]
    report.steps += len(steps)
    report.steps_again += len(steps) - len(set(steps))
    for loss in losses:
        place = history.index(loss)
        following = [event for event in history[place:] if event.type == "started"]
        if following:
            report.recoveries_s.append(_at_s(following[0]) - _at_s(history[place - 1]))


def _at_s(event: Event) -> float:
    return int(event.id.partition("-")[0]) / 1_000


def _check_keys(redis: Redis) -> None:
    found = {key.decode().split(":")[1] for key in redis.scan_iter("panoweave:*")}
    assert found <= set(_KEPT_KEYS), found - set(_KEPT_KEYS)


def _check_pictures(here: Arena, views: dict[str, dict[str, Any]]) -> None:
    """Every picture is the one in its record, and nothing else lies in the bucket."""
    expected: set[str] = set()
    for job_id, view in views.items():
        if view["status"] != "succeeded":
            continue
        answer = here.ask("GET", f"/panoramas/{job_id}/image")
        picture = httpx.get(answer.headers["location"], timeout=20).content
        assert hashlib.sha256(picture).hexdigest() == view["result"]["sha256"], job_id
        key = answer.headers["location"].partition("/panoweave/")[2].partition("?")[0]
        expected |= {f"{key.rpartition('/')[0]}/{name}" for name in _FILES}
    stored = {key for key in objects_of(here) if key.split("/")[1] in views}
    assert stored == expected, stored ^ expected


def _check_webhooks(
    here: Arena, views: dict[str, dict[str, Any]], redis_deaths: list[float]
) -> None:
    by_job: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for received in list(here.receiver.received):
        payload = received.payload
        by_job[payload["data"]["id"]].add((payload["type"], received.headers["webhook-id"]))
    assert set(by_job) >= set(views)
    for job_id, view in views.items():
        ids = {id_ for kind, id_ in by_job[job_id] if kind == f"panorama.{view['status']}"}
        assert len(ids) == 1, (job_id, by_job[job_id])
        if len(by_job[job_id]) > 1:  # another end was sent, which Redis then lost with its second
            assert redis_deaths, (job_id, by_job[job_id])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--jobs", type=int, default=500)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--report", type=Path)
    asked = options.parse_args()
    print(f"seed {asked.seed}", flush=True)
    # Two workers with two threads each wait for one another on two cores, and take twice the time.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny.pipeline(folder / "tokenizer-files").save_pretrained(folder / "model")
        report = run(folder, folder / "model", asked.jobs, asked.seed)
    text = f"`make chaos` ({asked.jobs} panoramas, two workers on two cores):\n\n"
    publish("chaos", text + table(["", ""], report.rows()), asked.report)


if __name__ == "__main__":
    main()
