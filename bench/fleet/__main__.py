"""The whole service under load, without GPUs: does it hold at a hundred thousand jobs?

    python -m bench.fleet [--report docs/scale.md] [--jobs 100000] [--workers 50] [--tenants 1000]

A real Redis, four API processes, workers as processes that make panoramas in no time, and tenants
of which a tenth have half of the jobs. POSTs and claims are measured with a tenth of the jobs
waiting and with all of them; then the workers work for a while. Prints what it has as it goes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.fleet import load
from bench.fleet.backlog import fill, tenant
from bench.fleet.service import APIS, Fleet, fleet
from bench.fleet.workers import working
from bench.sections import machine, parser, publish, table
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore

_POSTS_PER_S: Final = 40.0
_POSTING_S: Final = 10.0
_CLAIMS: Final = 300
_WARM_UP_S: Final = 3.0
_ROUNDS: Final = 2
_LONGEST: Final = 6  # times as long as was asked for


class Backlog(NamedTuple):
    waiting: int
    posts_s: list[float]
    claims_s: list[float]
    sweep_s: float
    bytes_a_job: float


class Drained(NamedTuple):
    claims_per_s: float
    claim_p99_s: float
    fairness: float
    commands_a_job: float
    received_a_job: float  # bytes, by Redis
    sent_a_job: float


def measure_backlog(here: Fleet, waiting: int, empty_bytes: int) -> Backlog:
    store = JobStore(here.redis, here.settings)
    fill(store, here.settings.model, waiting - store.counts().queued, len(here.tokens))
    Queue(here.redis).top_up()
    used = here.info("memory")["used_memory"] - empty_bytes
    bytes_a_job = used / here.redis.zcard("panoweave:queued")
    load.post(here, _POSTS_PER_S, _WARM_UP_S)
    posts_s = load.post(here, _POSTS_PER_S, _POSTING_S)
    claims_s = load.claim(here, _CLAIMS)
    found = Backlog(waiting, posts_s, claims_s, load.sweep_s(here), bytes_a_job)
    figures = ", ".join(_row(found)[1:])
    print(f"{waiting:,} waiting: {figures}; {bytes_a_job:,.0f} bytes each", flush=True)
    return found


def _row(backlog: Backlog) -> list[str]:
    times_s = (
        *(median(backlog.posts_s), load.p99(backlog.posts_s)),
        *(median(backlog.claims_s), load.p99(backlog.claims_s), backlog.sweep_s),
    )
    return [f"{backlog.waiting:,}", *(f"{1_000 * each:.1f}" for each in times_s)]


def drain(here: Fleet, workers: int, seconds: float) -> Drained:
    tenants = [tenant(number) for number in range(len(here.tokens))]
    before, served, began = here.info("stats"), here.served(), time.monotonic()
    with working(here.settings, workers) as claims:
        time.sleep(seconds)
        # One round serves each tenant once.
        while here.served() - served < _ROUNDS * len(tenants):
            if time.monotonic() - began > _LONGEST * seconds:
                break
            time.sleep(1)
    after = here.info("stats")

    def a_job(name: str) -> float:
        return float(after[name] - before[name]) / len(claims)

    ordered = sorted(claims)
    middle = ordered[len(ordered) // 10 : -len(ordered) // 10]
    return Drained(
        load.claims_per_s(claims),
        load.p99([each.took_s for each in middle]),
        load.fairness(ordered, tenants),
        a_job("total_commands_processed"),
        a_job("total_net_input_bytes"),
        a_job("total_net_output_bytes"),
    )


def report(backlogs: list[Backlog], drained: Drained, asked: argparse.Namespace) -> str:
    head = ["waiting", "POST p50, ms", "p99, ms", "claim p50, ms", "p99, ms", "sweep, ms"]
    last = backlogs[-1]
    facts = [
        ["claims a second", f"{drained.claims_per_s:.0f}"],
        ["p99 of a claim, with all workers", f"{1_000 * drained.claim_p99_s:.1f} ms"],
        ["Jain's index over tenants", f"{drained.fairness:.3f}"],
        ["bytes of Redis for a waiting job", f"{last.bytes_a_job:,.0f}"],
        ["Redis commands for a job, by its worker", f"{drained.commands_a_job:.0f}"],
        [
            "bytes to Redis and back, for a job",
            f"{drained.received_a_job:,.0f} and {drained.sent_a_job:,.0f}",
        ],
    ]
    return (
        f"`python -m bench.fleet --jobs {asked.jobs} --workers {asked.workers} --tenants "
        f"{asked.tenants} --seconds {asked.seconds:g}` on {machine()}: {APIS} API processes, "
        f"{_POSTS_PER_S:g} POSTs a second; then worker processes, each of which reports one "
        f"step.\n\n{table(head, [_row(each) for each in backlogs])}\n\n{table(['', ''], facts)}"
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--jobs", type=int, default=100_000)
    options.add_argument("--workers", type=int, default=50)
    options.add_argument("--tenants", type=int, default=1_000)
    options.add_argument("--seconds", type=float, default=30, help="how long the workers work")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, fleet(Path(folder), asked.tenants) as here:
        print(f"{APIS} API processes are ready, {asked.tenants:,} tenants have a key", flush=True)
        empty_bytes = here.info("memory")["used_memory"]
        backlogs = [
            measure_backlog(here, waiting, empty_bytes)
            for waiting in (asked.jobs // 10, asked.jobs)
        ]
        drained = drain(here, asked.workers, asked.seconds)
    publish("fleet", report(backlogs, drained, asked), asked.report)


if __name__ == "__main__":
    main()
