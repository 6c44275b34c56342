"""How many may wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record, start_job
from tests.service.checks import problem
from tests.service.pictures import inline, png
from tests.service.server import publish_model, serving


def post(api: httpx.Client, **headers: str) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill"}, headers=headers)


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_queued": 3}, "queue_full"), ({"tenant_max_queued": 3}, "tenant_queue_full")],
)
def test_no_more_wait_than_may(
    settings: Settings, redis: Redis, limits: dict[str, int], code: str
) -> None:
    """To the letter, also where ten come at once; and a place that is free is free."""
    publish_model(redis)
    here = settings.model_copy(update=limits)
    store = JobStore(redis, here)
    with serving(here) as api, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: post(api), range(10)))
        taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert len(taken) == 3
        for answer in answers:
            if answer.status_code != 202:
                assert "3" in problem(answer, 429, code)["detail"]
                assert int(answer.headers["retry-after"]) > 0
        problem(post(api, **{"Idempotency-Key": "later"}), 429, code)
        start_job(store, min(taken), "worker-1")
        assert post(api, **{"Idempotency-Key": "later"}).status_code == 202
        problem(post(api), 429, code)


def test_what_is_refused_leaves_no_picture(
    settings: Settings, redis: Redis, objects: ObjectStore
) -> None:
    publish_model(redis)
    picture = inline(png())
    with serving(settings.model_copy(update={"max_queued": 1})) as api:
        body = {"prompt": "a hill", "anchor_image": picture}
        first = api.post("/panoramas", json=body).json()["id"]
        stored = set(objects.list(f"default/{first}/"))
        before = set(objects.list("default/"))
        problem(api.post("/panoramas", json=body), 429, "queue_full")
        assert set(objects.list("default/")) == before
        assert len(stored) == 1


def test_one_tenants_limit_is_not_anothers(settings: Settings, redis: Redis) -> None:
    store = JobStore(redis, settings.model_copy(update={"tenant_max_queued": 1}))
    store.create(new_record(tenant="ada"))
    assert store.create(new_record(tenant="bob")).tenant == "bob"
