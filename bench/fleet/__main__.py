"""The whole service under load, without GPUs: does it hold at a hundred thousand jobs?

    python -m bench.fleet [--report docs/scale.md] [--jobs 100000] [--workers 50] [--tenants 1000]

A real Redis, four API processes, workers as processes that make panoramas in no time, and tenants
of which a tenth have half of the jobs. POSTs and claims are measured with a tenth of the jobs
waiting and with all of them; then the workers work for a while.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.fleet import load
from bench.fleet.service import APIS, Fleet, fill, fleet, tenant
from bench.fleet.workers import working
from bench.sections import machine, parser, publish, table

_POSTS_PER_S: Final = 40.0
_POSTING_S: Final = 10.0
_CLAIMS: Final = 300
_WARM_UP_S: Final = 3.0


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
    fill(here, waiting - here.redis.zcard("panoweave:queued"))
    used = here.info("memory")["used_memory"] - empty_bytes
    bytes_a_job = used / here.redis.zcard("panoweave:queued")
    load.post(here, _POSTS_PER_S, _WARM_UP_S)
    posts_s = load.post(here, _POSTS_PER_S, _POSTING_S)
    claims_s = load.claim(here, _CLAIMS)
    return Backlog(waiting, posts_s, claims_s, load.sweep_s(here), bytes_a_job)


def drain(here: Fleet, workers: int, seconds: float) -> Drained:
    before = here.info("stats")
    with working(here.settings, workers) as claims:
        time.sleep(seconds)
    after = here.info("stats")

    def a_job(name: str) -> float:
        return float(after[name] - before[name]) / len(claims)

    ordered = sorted(claims)
    middle = ordered[len(ordered) // 10 : -len(ordered) // 10]
    # Of all tenants: each has jobs for as many rounds as are made in this time.
    tenants = [tenant(number) for number in range(len(here.tokens))]
    return Drained(
        load.claims_per_s(claims),
        load.p99([each.took_s for each in middle]),
        load.fairness(ordered, tenants),
        a_job("total_commands_processed"),
        a_job("total_net_input_bytes"),
        a_job("total_net_output_bytes"),
    )


def report(backlogs: list[Backlog], drained: Drained, workers: int, tenants: int) -> str:
    head = ["waiting", "POST p50, ms", "p99, ms", "claim p50, ms", "p99, ms", "sweep, ms"]
    rows = [
        [f"{each.waiting:,}"]
        + [
            f"{1_000 * value:.1f}"
            for value in (
                *(median(each.posts_s), load.p99(each.posts_s)),
                *(median(each.claims_s), load.p99(each.claims_s), each.sweep_s),
            )
        ]
        for each in backlogs
    ]
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
        f"`python -m bench.fleet` on {machine()}: {APIS} API processes, {tenants:,} tenants, "
        f"{_POSTS_PER_S:g} POSTs a second; then {workers} worker processes, which report one "
        f"step.\n\n{table(head, rows)}\n\n{table(['', ''], facts)}"
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--jobs", type=int, default=100_000)
    options.add_argument("--workers", type=int, default=50)
    options.add_argument("--tenants", type=int, default=1_000)
    options.add_argument("--seconds", type=float, default=30, help="how long the workers work")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, fleet(Path(folder), asked.tenants) as here:
        empty_bytes = here.info("memory")["used_memory"]
        backlogs = [
            measure_backlog(here, waiting, empty_bytes)
            for waiting in (asked.jobs // 10, asked.jobs)
        ]
        drained = drain(here, asked.workers, asked.seconds)
    publish("fleet", report(backlogs, drained, asked.workers, asked.tenants), asked.report)


if __name__ == "__main__":
    main()
