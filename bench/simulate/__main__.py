"""What KEDA's settings do to waits and costs: a fleet of one model over simulated days.

    python -m bench.simulate [--report docs/scale.md]

Times are measured on this machine (how long a worker takes to be ready, and to store a picture),
taken from docs/benchmarks.md (a step on a GPU), or assumed (a machine, an image, a checkpoint).
`--report` also draws the plots beside the page.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from bench.sections import machine, parser, publish, table
from bench.simulate import plots
from bench.simulate.arrivals import DAYS, Day, requests
from bench.simulate.costs import Costs, measure
from bench.simulate.fleet import Fleet, Knobs, Outcome

SEEDS: Final = range(5)
DEFAULT: Final = Knobs()
SETTINGS: Final = {
    "the chart's": DEFAULT,
    "secondsPerWorker: 30": replace(DEFAULT, seconds_per_worker=30),
    "secondsPerWorker: 60": replace(DEFAULT, seconds_per_worker=60),
    "secondsPerWorker: 300": replace(DEFAULT, seconds_per_worker=300),
    "cooldownSeconds: 60": replace(DEFAULT, cooldown_s=60),
    "cooldownSeconds: 900": replace(DEFAULT, cooldown_s=900),
    "cooldownSeconds: 1800": replace(DEFAULT, cooldown_s=1_800),
    "scaleDownSeconds: 60": replace(DEFAULT, scale_down_s=60),
    "scaleDownSeconds: 900": replace(DEFAULT, scale_down_s=900),
    "min: 1": replace(DEFAULT, least=1),
    "spot, a machine lives 2 h": replace(DEFAULT, reclaim_every_s=7_200),
}


@dataclass(frozen=True)
class Summary:
    """Of all seeds of a setting on one kind of day."""

    median_s: float
    p99_s: float
    gpu_h: float  # a day
    busy: float  # of the time that is paid for
    cold_starts: float  # a day
    handed_back: float  # a day


def simulate(day: Day, costs: Costs, knobs: Knobs, seed: int) -> Outcome:
    return Fleet(costs, knobs, seed).run(requests(day, costs, seed))


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    waits = sorted(wait for each in outcomes for wait in each.waits_s)
    paid_s = sum(each.machine_s for each in outcomes)
    days = len(outcomes)
    return Summary(
        statistics.median(waits),
        waits[int(0.99 * (len(waits) - 1))],
        paid_s / 3_600 / days,
        sum(each.busy_s for each in outcomes) / paid_s,
        sum(each.cold_starts for each in outcomes) / days,
        sum(each.handed_back for each in outcomes) / days,
    )


def summaries(day: Day, costs: Costs) -> dict[str, Summary]:
    return {
        name: summarise([simulate(day, costs, knobs, seed) for seed in SEEDS])
        for name, knobs in SETTINGS.items()
    }


def section(found: dict[Day, dict[str, Summary]], costs: Costs) -> str:
    head = ["setting", "wait p50, s", "p99, s", "GPU hours", "busy", "cold starts", "handed back"]
    parts = [
        f"`python -m bench.simulate` on {machine()}: {len(SEEDS)} days each. Measured here: a "
        f"worker ready in {costs.process_s:.0f} s, a picture of {costs.picture_bytes / 1e6:.1f} MB "
        f"stored in {costs.upload_s:.2f} s. A cold start takes {costs.cold_start_s:.0f} s, "
        f"another pod on the same machine {costs.load_s:.0f} s."
    ]
    for day, by_setting in found.items():
        rows = [
            [
                name,
                f"{each.median_s:.0f}",
                f"{each.p99_s:.0f}",
                f"{each.gpu_h:.1f}",
                f"{each.busy:.0%}",
                f"{each.cold_starts:.0f}",
                f"{each.handed_back:.1f}",
            ]
            for name, each in by_setting.items()
        ]
        parts.append(f"**{day.name}**: {day.text}.\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def main() -> None:
    page: Path | None = parser(__doc__).parse_args().report
    costs = measure()
    found = {day: summaries(day, costs) for day in DAYS}
    publish("simulation", section(found, costs), page)
    if page:
        run = partial(simulate, costs=costs, knobs=DEFAULT, seed=0)
        plots.draw_days(page.with_name("scale-days.png"), {day.name: run(day) for day in DAYS})
        points = {
            day.name: {name: (each.gpu_h, each.p99_s) for name, each in by_setting.items()}
            for day, by_setting in found.items()
        }
        plots.draw_trade_off(page.with_name("scale-settings.png"), points)


if __name__ == "__main__":
    main()
