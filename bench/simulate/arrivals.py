"""Days of requests: when they come, and how much work each is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from bench.simulate.costs import Costs

DAY_S: Final = 86_400.0
STEPS: Final = {"fast": 30, "balanced": 50, "paper": 50}
_SHARES: Final = {"fast": 0.60, "balanced": 0.35, "paper": 0.05}
_WIDTHS: Final = {1: 0.7, 2: 0.2, 4: 0.1}  # in multiples of 3,072 px
_ESTIMATE_SPREAD: Final = 0.2  # of the logarithm of estimate / truth


class Request(NamedTuple):
    at_s: float
    work_s: float
    estimate_s: float


class Day(NamedTuple):
    name: str
    text: str
    times: Callable[[random.Random], Iterator[float]]


def _poisson(rng: random.Random, most: float, rate: Callable[[float], float]) -> Iterator[float]:
    """Arrivals at a rate that changes, never above `most`."""
    now = 0.0
    while (now := now + rng.expovariate(most)) < DAY_S:
        if rng.random() * most < rate(now):
            yield now


def _diurnal(rng: random.Random) -> Iterator[float]:
    mean = 10_000 / DAY_S
    return _poisson(rng, 2 * mean, lambda at: mean * (1 - 0.9 * math.cos(2 * math.pi * at / DAY_S)))


def _bursty(rng: random.Random) -> Iterator[float]:
    quiet = 500 / DAY_S
    yield from _poisson(rng, quiet, lambda _: quiet)
    for at in _poisson(rng, 12 / DAY_S, lambda _: 12 / DAY_S):
        yield from (at + rng.random() * 30 for _ in range(rng.randint(20, 200)))


def _sparse(rng: random.Random) -> Iterator[float]:
    return _poisson(rng, 60 / DAY_S, lambda _: 60 / DAY_S)


DAYS: Final = (
    Day("diurnal", "10,000 requests a day, 19 times as many at noon as at midnight", _diurnal),
    Day("bursty", "500 a day, and every two hours 20 to 200 at once", _bursty),
    Day("sparse", "60 a day", _sparse),
)


def requests(day: Day, costs: Costs, seed: int) -> list[Request]:
    rng = random.Random(seed)
    step_s = dict(costs.step_s)
    made = []
    for at in sorted(at for at in day.times(rng) if at < DAY_S):
        [preset] = rng.choices(list(_SHARES), list(_SHARES.values()))
        [width] = rng.choices(list(_WIDTHS), list(_WIDTHS.values()))
        work_s = STEPS[preset] * step_s[preset] * width + costs.upload_s
        made.append(Request(at, work_s, work_s * rng.lognormvariate(0, _ESTIMATE_SPREAD)))
    return made
