"""A deployment of several models: requests name one, and its workers alone make them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from panoweave.core.estimate import Speeds
from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models, speeds
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import TRAITS
from tests.service.checks import problem
from tests.service.scrape import scrape
from tests.service.server import serving


@pytest.fixture
def both(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:
    """An API of two models, the second with larger windows. One worker each has loaded them."""
    for model, window_px in (("embedded", TRAITS.window_px), ("org/sea@v1", 512)):
        models.publish(
            redis,
            ModelState(
                model=model,
                state="ready",
                traits=TRAITS.model_copy(update={"window_px": window_px}),
                perceptual="stlpips-alex",
                worker=f"worker-{window_px}",
            ),
        )
    with serving(settings.model_copy(update={"models": "org/sea@v1"})) as api:
        yield api


def test_a_request_names_its_model(both: httpx.Client, redis: Redis, settings: Settings) -> None:
    """Sizes, the answer, and the worker that gets it are of that model."""
    store = JobStore(redis, settings)
    default = both.post("/panoramas", json={"prompt": "a hill"}).json()
    named = both.post("/panoramas", json={"prompt": "a hill", "model": "org/sea@v1"}).json()
    assert (default["model"], default["params"]["height"]) == ("embedded", 128)
    assert (named["model"], named["params"]["height"]) == ("org/sea@v1", 512)
    assert named["queue_position"] == 0
    assert both.get(f"/panoramas/{named['id']}").json()["model"] == "org/sea@v1"
    claimed = store.claim("worker-512", "org/sea@v1")
    assert claimed is not None
    assert claimed.id == named["id"]
    assert store.claim("worker-512", "org/sea@v1") is None


def test_null_is_the_default_model(both: httpx.Client) -> None:
    answer = both.post("/panoramas", json={"prompt": "a hill", "model": None})
    assert (answer.status_code, answer.json()["model"]) == (202, "embedded")


def test_a_model_that_there_is_not(both: httpx.Client) -> None:
    answer = both.post("/panoramas", json={"prompt": "a hill", "model": "sea"})
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["field"], problem["legal"]) == ("model", "'embedded', 'org/sea@v1'")


def test_the_same_key_answers_with_the_same_model(both: httpx.Client) -> None:
    headers = {"Idempotency-Key": "one"}
    body = {"prompt": "a hill", "model": "org/sea@v1"}
    first = both.post("/panoramas", json=body, headers=headers)
    again = both.post("/panoramas", json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    other = both.post("/panoramas", json={**body, "model": "embedded"}, headers=headers)
    assert other.status_code == 422


def test_estimates_are_by_the_models_own_speed(both: httpx.Client, redis: Redis) -> None:
    """Neither the seconds of an estimate nor its limit come from another model's workers."""
    sea = {"prompt": "a hill", "model": "org/sea@v1"}
    speeds.publish(redis, "embedded", Speeds(prediction_s=100, finish_s=100))
    problem(both.post("/panoramas", json={"prompt": "a hill"}), 422, "invalid_params")
    unknown = both.post("/panoramas", json=sea).json()
    assert (unknown["estimate_s"], unknown["progress"]["eta_s"]) == (None, None)
    speeds.publish(redis, "org/sea@v1", Speeds(prediction_s=0.001, finish_s=0.001))
    known = both.post("/panoramas", json=sea).json()
    assert 0 < known["estimate_s"] < 10


def test_the_eta_counts_the_models_own_panoramas(
    both: httpx.Client, redis: Redis, settings: Settings
) -> None:
    """Panoramas without an estimate take as long as the last ones of their model did."""
    redis.rpush(redis_keys.RUN_TIMES_OF + "embedded", 60_000)
    sea = {"prompt": "a hill", "model": "org/sea@v1"}
    assert both.post("/panoramas", json=sea).json()["progress"]["eta_s"] is None
    redis.rpush(redis_keys.RUN_TIMES_OF + "org/sea@v1", 2_000)
    store = JobStore(redis, settings)
    first, second = (both.post("/panoramas", json={"prompt": "a hill"}).json() for _ in range(2))
    assert (first["progress"]["eta_s"], second["progress"]["eta_s"]) == (60, 120)
    assert both.post("/panoramas", json=sea).json()["progress"]["eta_s"] == 4
    assert store.claim("worker-512", "org/sea@v1") is not None


def test_operators_see_what_waits_for_a_model_without_workers(
    both: httpx.Client, redis: Redis
) -> None:
    for _ in range(2):
        both.post("/panoramas", json={"prompt": "a hill", "model": "org/sea@v1"})
    assert both.get("/status").json()["unserved"] == []
    models.withdraw(redis, "worker-512")
    assert both.get("/status").json()["unserved"] == [{"model": "org/sea@v1", "queued": 2}]
    assert scrape(both)["panoweave_jobs_unserved"] == 2


def test_the_default_model_is_one_of_the_deployments(settings: Settings) -> None:
    listed = settings.model_copy(update={"models": " a , embedded,, b"})
    assert listed.model_names == ("embedded", "a", "b")
    assert settings.model_names == ("embedded",)
