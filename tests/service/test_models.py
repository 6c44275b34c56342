"""A deployment of several models: requests name one, and its workers alone make them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from panoweave.core.checkpoint import LoraTraits
from panoweave.core.estimate import Speeds
from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models, speeds
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import TRAITS
from tests.service.checks import at_fault, problem
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


@pytest.fixture
def painted(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:
    """An API whose worker has two LoRAs."""
    loras = [LoraTraits(name="ink", triggers=["ink wash"]), LoraTraits(name="fog")]
    models.publish(
        redis,
        ModelState(
            model="embedded",
            state="ready",
            traits=TRAITS.model_copy(update={"loras": loras}),
            perceptual="stlpips-alex",
            worker="worker-1",
        ),
    )
    with serving(settings) as api:
        yield api


def test_loras_are_listed_with_their_triggers(painted: httpx.Client) -> None:
    (shown,) = painted.get("/models").json()["items"]
    assert shown["traits"]["loras"] == [
        {"name": "ink", "triggers": ["ink wash"]},
        {"name": "fog", "triggers": []},
    ]


def test_a_request_names_loras_of_the_model(painted: httpx.Client) -> None:
    asked = [{"name": "fog", "scale": 0.5}, {"name": "ink"}]
    made = painted.post("/panoramas", json={"prompt": "a hill", "loras": asked})
    assert made.status_code == 202
    expected = [{"name": "fog", "scale": 0.5}, {"name": "ink", "scale": 1.0}]
    assert made.json()["params"]["loras"] == expected
    shown = painted.get(f"/panoramas/{made.json()['id']}").json()
    assert shown["params"]["loras"] == expected


@pytest.mark.parametrize("nothing", [{}, {"loras": None}, {"loras": []}])
def test_without_loras_the_field_is_absent(
    painted: httpx.Client, nothing: dict[str, object]
) -> None:
    """So requests, jobs and savepoints from before there was the field compare equal."""
    headers = {"Idempotency-Key": "one"}
    made = painted.post("/panoramas", json={"prompt": "a hill"}, headers=headers)
    again = painted.post("/panoramas", json={"prompt": "a hill", **nothing}, headers=headers)
    assert "loras" not in made.json()["params"]
    assert (again.status_code, again.json()["id"]) == (202, made.json()["id"])
    other = {"prompt": "a hill", "loras": [{"name": "ink"}]}
    assert painted.post("/panoramas", json=other, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("loras", "field", "legal"),
    [
        ([{"name": "oil"}], "loras.0.name", "'ink' or 'fog'"),
        ([{"name": "ink"}, {"name": "ink"}], "loras.1.name", "'fog'"),
        ([{"name": "ink", "scale": 6}], "loras.0.scale", "a number from -5 to 5"),
        ([{"name": "ink", "weight": 1}], "loras.0.weight", "the fields name, scale"),
        ([{"name": ""}], "loras.0.name", "text of 1 to 64 characters"),
        ([{}], "loras.0.name", "text of 1 to 64 characters"),
        ([{"name": "ink"}] * 9, "loras", "a list of up to 8 of the model's LoRAs"),
        ("ink", "loras", "a list of up to 8 of the model's LoRAs"),
    ],
)
def test_loras_that_cannot_be_are_refused(
    painted: httpx.Client, loras: object, field: str, legal: str
) -> None:
    answer = painted.post("/panoramas", json={"prompt": "a hill", "loras": loras})
    found = at_fault(answer)
    assert (found["field"], found["legal"][: len(legal)]) == (field, legal)


def test_a_model_without_loras_refuses_them(both: httpx.Client) -> None:
    answer = both.post("/panoramas", json={"prompt": "a hill", "loras": [{"name": "ink"}]})
    found = at_fault(answer)
    assert found["field"] == "loras"
    assert "an empty list, or a worker with some (PANOWEAVE_LORAS)" in found["legal"]
