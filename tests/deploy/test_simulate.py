"""The simulation of a fleet: that it keeps its own books, and that the chart has its settings."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.simulate.__main__ import DEFAULT, summarise
from bench.simulate.arrivals import DAY_S, DAYS, Request, requests
from bench.simulate.costs import Costs
from bench.simulate.fleet import Fleet, Knobs
from tests.deploy.chart.render import of_defaults

COSTS = Costs()


def steady(count: int, work_s: float, every_s: float, first_s: float = 3_600) -> list[Request]:
    return [Request(first_s + n * every_s, work_s, work_s) for n in range(count)]


def test_the_settings_are_those_of_the_chart() -> None:
    chosen = of_defaults()["autoscaling"]
    assert Knobs(
        seconds_per_worker=chosen["secondsPerWorker"],
        cooldown_s=chosen["cooldownSeconds"],
        scale_down_s=chosen["scaleDownSeconds"],
        polling_s=chosen["pollingIntervalSeconds"],
        least=chosen["min"],
    ) == replace(DEFAULT, most=40)


def test_one_worker_serves_one_after_another() -> None:
    """Lindley's recursion: the next one waits for what is left of those before it."""
    rng = random.Random(3)
    asked, at = [], 3_600.0
    for _ in range(200):
        at += rng.expovariate(1 / 40)
        work_s = rng.uniform(5, 60)
        asked.append(Request(at, work_s, work_s))
    outcome = Fleet(COSTS, replace(DEFAULT, least=1, most=1), seed=0).run(asked)
    expected, free_at = [], 0.0
    for request in asked:
        expected.append(max(0.0, free_at - request.at_s))
        free_at = max(free_at, request.at_s) + request.work_s
    assert list(outcome.waits_s) == pytest.approx(expected)
    assert outcome.busy_s == pytest.approx(sum(each.work_s for each in asked))
    assert outcome.machine_s == pytest.approx(DAY_S)


def test_the_first_one_waits_for_a_cold_start_and_the_last_worker_goes() -> None:
    outcome = Fleet(COSTS, DEFAULT, seed=0).run(steady(1, 30, 1))
    [wait] = outcome.waits_s
    assert COSTS.cold_start_s <= wait <= COSTS.cold_start_s + DEFAULT.polling_s
    assert max(pods for _, pods, _ in outcome.workers) == 1
    assert outcome.workers[-1][1] == 0
    lived_s = wait + 30 + DEFAULT.cooldown_s
    assert lived_s <= outcome.machine_s <= lived_s + COSTS.machine_idle_s + 4 * DEFAULT.polling_s


@pytest.mark.parametrize("reclaim_every_s", [float("inf"), 600.0])
def test_all_work_is_done_once_whatever_is_taken_away(reclaim_every_s: float) -> None:
    asked = steady(300, 90, 20)
    knobs = replace(DEFAULT, scale_down_s=60, reclaim_every_s=reclaim_every_s)
    outcome = Fleet(COSTS, knobs, seed=1).run(asked)
    assert len(outcome.waits_s) == len(asked)
    assert outcome.busy_s == pytest.approx(300 * 90)
    assert outcome.machine_s > outcome.busy_s
    assert (outcome.handed_back > 10) is (reclaim_every_s == 600)


def test_no_more_workers_than_the_most() -> None:
    outcome = Fleet(COSTS, replace(DEFAULT, most=3), seed=0).run(steady(100, 60, 1))
    assert max(pods for _, pods, _ in outcome.workers) == 3


def test_days_have_the_requests_that_they_are_said_to_have() -> None:
    counts = {day.name: len(requests(day, COSTS, seed=0)) for day in DAYS}
    assert counts["diurnal"] == pytest.approx(10_000, rel=0.05)
    assert counts["sparse"] == pytest.approx(60, rel=0.4)
    assert 500 < counts["bursty"] < 4_000
    noon = [each for each in requests(DAYS[0], COSTS, seed=0) if 11 < each.at_s / 3_600 < 13]
    night = [each for each in requests(DAYS[0], COSTS, seed=0) if each.at_s / 3_600 < 1]
    assert len(noon) > 10 * len(night)


def test_more_work_for_each_worker_costs_less_and_takes_longer() -> None:
    found = {
        seconds: summarise(
            [
                Fleet(COSTS, replace(DEFAULT, seconds_per_worker=seconds), 0).run(
                    requests(DAYS[0], COSTS, 0)
                )
            ]
        )
        for seconds in (30, 300)
    }
    assert found[300].gpu_h < found[30].gpu_h
    assert found[300].p99_s > found[30].p99_s
