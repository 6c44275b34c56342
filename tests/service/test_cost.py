"""What one panorama may cost, as the operator says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.estimate import Speeds
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import speeds
from panoweave.core.jobs.store import JobStore
from tests.service.checks import problem
from tests.service.server import publish_model, serving
from tests.service.steps import start

SLOW = Speeds(prediction_s=0.05, gradient_full_s=0.5, gradient_gaussian_full_s=0.4)


def post(api: httpx.Client, **asked: Any) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", **asked})


@pytest.mark.parametrize(
    ("limits", "asked", "field", "name"),
    [
        ({"max_pixels": 99_000}, {"width": 1024}, "width", "PANOWEAVE_MAX_PIXELS"),
        (
            {"max_pixels": 99_000},
            {"width": 512, "loop": True, "projection": "equirectangular"},
            "width",
            "PANOWEAVE_MAX_PIXELS",
        ),
        ({"max_pixels": 150_000}, {"width": 512, "upscale": 2}, "width", "PANOWEAVE_MAX_PIXELS"),
        ({"max_steps": 60}, {"steps": 61}, "steps", "PANOWEAVE_MAX_STEPS"),
        ({"max_windows": 30}, {"width": 3200, "stride": 32}, "stride", "PANOWEAVE_MAX_WINDOWS"),
    ],
)
def test_a_panorama_over_a_limit_is_refused(
    settings: Settings, redis: Redis, limits: dict[str, int], asked: dict[str, Any], field: str,
    name: str,
) -> None:  # fmt: skip
    publish_model(redis)
    with serving(settings.model_copy(update=limits)) as api:
        refused = problem(post(api, **asked), 422, "invalid_params")
        assert refused["errors"][0]["field"] == field
        assert name in refused["detail"]
        assert f"{next(iter(limits.values())):,}" in refused["errors"][0]["legal"]
        assert post(api).status_code == 202


@pytest.mark.parametrize(
    "asked",
    [
        {"width": 800, "stride": 8, "steps": 250},
        {"width": 32768, "preset": "paper"},
    ],
)
def test_a_panorama_that_would_take_hours_is_refused(
    api: httpx.Client, redis: Redis, asked: dict[str, Any]
) -> None:
    speeds.publish(
        redis, "embedded", Speeds(prediction_s=0.1, gradient_full_s=1, gradient_gaussian_full_s=1)
    )
    refused = problem(post(api, **asked), 422, "invalid_params")
    assert "PANOWEAVE_MAX_ESTIMATED_S" in refused["detail"]
    assert "3,600 s" in refused["detail"]
    legal = refused["errors"][0]["legal"]
    steps = int(legal.split()[2])
    assert post(api, **{**asked, "steps": steps}).status_code == 202
    problem(post(api, **{**asked, "steps": steps + 1}), 422, "invalid_params")


def test_fewer_steps_that_take_longer_are_not_called_legal(api: httpx.Client, redis: Redis) -> None:
    """One step makes all 250 moves; of 250 steps, 225 make one each."""
    speeds.publish(redis, "embedded", Speeds(prediction_s=0.1, gradient_gaussian_full_s=1.23))
    asked = {"width": 1536, "sync": {"tuned_steps": 250}}
    refused = problem(post(api, **asked, steps=250), 422, "invalid_params")
    legal = refused["errors"][0]["legal"]
    steps = int(legal.split()[2])
    assert legal.startswith(f"such as {steps} steps, or ")
    assert post(api, **asked, steps=steps).status_code == 202
    problem(post(api, **asked, steps=1), 422, "invalid_params")


def test_the_usual_requests_are_legal_on_a_slow_machine(api: httpx.Client, redis: Redis) -> None:
    speeds.publish(redis, "embedded", SLOW)
    for asked in ({}, {"preset": "paper"}, {"width": 4096, "steps": 2, "preset": "paper"}):
        answer = post(api, **asked)
        assert answer.status_code == 202
        assert 0 < answer.json()["estimate_s"] < 3_600


def test_nothing_is_estimated_before_something_was_measured(api: httpx.Client) -> None:
    assert post(api, width=32768, preset="paper").json()["estimate_s"] is None


def test_the_eta_is_that_of_the_work(api: httpx.Client, redis: Redis, store: JobStore) -> None:
    """After jobs of one step, those of fifty are not thought to be as short."""
    speeds.publish(redis, "embedded", SLOW)
    waiting = [post(api).json() for _ in range(6)]
    estimate_s = waiting[0]["estimate_s"]
    assert estimate_s > 10
    start(store, waiting[0]["id"])
    running = api.get(f"/panoramas/{waiting[0]['id']}").json()["progress"]
    assert running == {
        "phase": "starting",
        "step": 0,
        "total_steps": 50,
        "fraction": 0,
        "eta_s": estimate_s,
        "has_preview": False,
    }
    last = api.get(f"/panoramas/{waiting[5]['id']}").json()["progress"]
    assert last["eta_s"] == pytest.approx(6 * estimate_s, rel=0.02)
