"""GET /scaling/{model}: what KEDA asks before it adds and removes workers."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.service.checks import problem
from tests.service.server import publish_model, serving

SEA = "org/sea@v1"
NOWHERE = "./nowhere"  # a directory that is not there


@pytest.fixture
def both(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:  # noqa: ARG001 (emptied)
    """An API of two models on an empty Redis."""
    with serving(settings.model_copy(update={"models": f"{SEA},{NOWHERE}"})) as api:
        yield api


@pytest.mark.parametrize("path", ["/scaling/org/sea@v1", "/scaling/org%2Fsea%40v1"])
def test_a_model_that_never_had_a_worker(both: httpx.Client, path: str) -> None:
    assert both.get(path).json() == {
        "model": SEA,
        "queued": 0,
        "running": 0,
        "gpu_s": 0,
        "unestimated": 0,
        "workers": 0,
        "workers_wanted": 0,
    }


def test_the_first_request_ever_asks_for_a_worker(both: httpx.Client) -> None:
    """Also if it is refused, since nobody knows the model's sizes: nothing is queued then."""
    nowhere = {"prompt": "a hill", "model": NOWHERE}
    problem(both.post("/panoramas", json=nowhere), 503, "model_not_ready")
    assert both.get(f"/scaling/{quote(NOWHERE, safe='')}").json()["workers_wanted"] == 1
    assert both.get(f"/scaling/{SEA}").json()["workers_wanted"] == 0
    assert both.post("/panoramas", json={"prompt": "a hill"}).status_code == 202
    wanted = both.get("/scaling/embedded").json()
    assert (wanted["queued"], wanted["workers_wanted"]) == (1, 1)


def test_seconds_per_worker(both: httpx.Client, store: JobStore) -> None:
    for _ in range(5):
        store.create(new_record().model_copy(update={"model": SEA, "estimate_s": 50.0}))
    found = both.get(f"/scaling/{SEA}", params={"seconds_per_worker": 60}).json()
    assert (found["queued"], found["gpu_s"], found["workers_wanted"]) == (5, 250, 5)
    assert both.get(f"/scaling/{SEA}").json()["workers_wanted"] == 3
    for illegal in ("0.9", "-1", "1e-320", "86401", "nan", "inf", "many", ""):
        answer = both.get(f"/scaling/{SEA}", params={"seconds_per_worker": illegal})
        (fault,) = problem(answer, 422, "invalid_params")["errors"]
        assert fault["field"] == "seconds_per_worker"
        assert fault["legal"] == "a number from 1 to 86400"


def test_a_name_that_no_request_may_have_is_refused(
    both: httpx.Client, redis: Redis, store: JobStore
) -> None:
    """A misspelt name in a ScaledObject would never scale, and nobody would see why."""
    for path in ("/scaling/see", "/scaling/", "/scaling//sea"):
        problem(both.get(path), 404, "model_not_found")
    # Unless there is work for it, or workers: the model of an earlier PANOWEAVE_MODEL.
    store.create(new_record().model_copy(update={"model": "old"}))
    assert both.get("/scaling/old").json()["workers_wanted"] == 1
    publish_model(redis)
    models.publish(redis, models.get(redis, "embedded").model_copy(update={"model": "older"}))  # type: ignore[union-attr]
    assert both.get("/scaling/older").json()["workers_wanted"] == 0


def test_a_key_of_scope_scaling_reads_nothing_else(both: httpx.Client, redis: Redis) -> None:
    keys = ApiKeys(redis)
    expected = {"scaling": 200, "admin": 200, "read": 403, "write": 403}
    for scope, status in expected.items():
        _, token = keys.create("fleet", (scope,))  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {token}"}
        assert both.get("/scaling/embedded", headers=headers).status_code == status
        if scope == "scaling":
            for path in ("/panoramas", "/models", "/usage", "/status", "/metrics"):
                problem(both.get(path, headers=headers), 403, "forbidden")
            answer = both.post("/panoramas", json={"prompt": "a hill"}, headers=headers)
            problem(answer, 403, "forbidden")
    problem(both.get("/scaling/embedded"), 401, "unauthorized")
