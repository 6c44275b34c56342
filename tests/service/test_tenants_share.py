"""What one tenant may take: requests in a minute, bytes of records; and what it has used."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import TenantBytesFull
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.service.checks import problem
from tests.service.server import publish_model, serving
from tests.service.steps import finish, post, start

WORDS = "ein sehr langer Wunsch 🦉 "
LONG = (WORDS * 100)[:2_000]


def largest() -> dict[str, Any]:
    """Nothing but text: as much as a request may hold."""
    region = {"prompt": LONG, "negative_prompt": LONG, "x": 0, "width": 128}
    return {"prompt": LONG, "negative_prompt": LONG, "regions": [region] * 16}


def everything(redis: Any) -> Iterator[bytes]:
    """What Redis holds in strings, hashes and streams."""
    for key in redis.scan_iter("*"):
        match redis.type(key):
            case b"hash":
                yield from redis.hvals(key)
            case b"string":
                yield redis.get(key)
            case b"stream":
                for _, entry in redis.xrange(key):
                    yield from entry.values()


def test_more_requests_than_a_tenant_may_send_are_refused(settings: Settings, redis: Redis) -> None:
    publish_model(redis)
    limits = {"tenant_writes_per_minute": 60, "tenant_reads_per_minute": 3}
    with serving(settings.model_copy(update=limits)) as api:
        begun = time.monotonic()
        for left in (2, 1, 0):
            answer = api.get("/panoramas")
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"read";q=3;w=60'
            assert re.fullmatch(rf'"read";r={left};t=\d+', answer.headers["ratelimit"])
        refused = api.get("/panoramas")
        assert "3 read requests" in problem(refused, 429, "rate_limited")["detail"]
        took_s = time.monotonic() - begun
        assert 19 - took_s <= int(refused.headers["retry-after"]) <= 20
        assert refused.headers["ratelimit"].startswith('"read";r=0;')
        # Writes count by themselves, and probes not at all.
        assert api.post("/panoramas", json={"prompt": "a hill"}).status_code == 202
        assert api.get("/livez").status_code == 200
        asked_until = time.monotonic() + 30
        while api.post("/panoramas", json={"prompt": ""}).status_code != 429:
            assert time.monotonic() < asked_until
        time.sleep(1.1)
        assert api.post("/panoramas", json={"prompt": "a hill"}).status_code == 202


def test_the_records_of_a_tenant_take_no_more_than_they_may(
    settings: Settings, redis: Redis
) -> None:
    """Cancelled ones count as long as they are kept; other tenants have room of their own."""
    publish_model(redis)
    here = settings.model_copy(update={"tenant_max_bytes": 2**20})
    with serving(here) as api:
        posted = []
        while (answer := api.post("/panoramas", json=largest())).status_code == 202:
            posted.append(answer.json()["id"])
            api.post(f"/panoramas/{posted[-1]}/cancel")
        assert "1,048,576 bytes" in problem(answer, 429, "tenant_bytes_full")["detail"]
        used = api.get("/usage").json()
        assert 2**20 * 0.8 < used["kept_bytes"] <= used["max_kept_bytes"] == 2**20
        stored = sum(
            redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter("panoweave:*")
        )
        assert stored < 1.3 * used["kept_bytes"]
        assert api.delete(f"/panoramas/{posted[0]}").status_code == 204
        assert api.post("/panoramas", json=largest()).status_code == 202
    assert JobStore(redis, here).create(new_record(tenant="other")).tenant == "other"


def test_records_that_have_expired_take_no_room(settings: Settings, redis: Redis) -> None:
    """Also where nothing ends any more, which is what else clears them away."""
    here = settings.model_copy(update={"tenant_max_bytes": 2**20, "job_ttl_s": 1})
    store = JobStore(redis, here)

    def create_and_cancel() -> None:
        record = store.create(new_record(metadata={"x": "y" * 300_000}))
        store.request_cancel(record.id)

    for _ in range(3):
        create_and_cancel()
    with pytest.raises(TenantBytesFull):
        create_and_cancel()
    time.sleep(1.1)
    assert store.create(new_record()).status is Status.QUEUED


def test_a_prompt_is_stored_once(api: httpx.Client, redis: Redis) -> None:
    """With an idempotency key too; and a repeated request gets the same answer all the same."""
    prompt = "a needle in a haystack"
    body = {"prompt": prompt, "metadata": {"order": "needle 7"}}
    headers = {"Idempotency-Key": "once"}
    first = api.post("/panoramas", json=body, headers=headers)
    found = sum(text.count(prompt.encode()) for text in everything(redis))
    assert found == 1
    again = api.post("/panoramas", json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content


def test_an_answer_that_an_earlier_version_stored_is_replayed(
    api: httpx.Client, redis: Redis
) -> None:
    body, headers = {"prompt": "a hill"}, {"Idempotency-Key": "old"}
    first = api.post("/panoramas", json=body, headers=headers)
    (key,) = redis.scan_iter(redis_keys.IDEMPOTENCY + "*")
    redis.hset(key, "answer", first.content)
    assert api.post("/panoramas", json=body, headers=headers).content == first.content


def test_a_list_shows_less_than_a_get(api: httpx.Client) -> None:
    long = api.post("/panoramas", json=largest() | {"metadata": {"x": "y" * 8_000}}).json()
    short = api.post("/panoramas", json={"prompt": "a hill", "metadata": {"x": "y"}}).json()
    answer = api.get("/panoramas")
    assert len(answer.content) < 6_000
    items = {item["id"]: item for item in answer.json()["items"]}
    whole = api.get(f"/panoramas/{short['id']}").json()
    assert items[short["id"]] == whole | {"shortened": False}
    cut = items[long["id"]]
    assert cut["shortened"]
    assert (cut["params"]["regions"], cut["metadata"]) == ([], {})
    assert len(cut["params"]["prompt"]) == 200
    assert LONG.startswith(cut["params"]["prompt"][:-1])
    assert api.get(f"/panoramas/{long['id']}").json()["params"] == long["params"]


def test_usage_is_counted_by_tenant(
    api: httpx.Client, store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    assert api.get("/usage").json()["items"] == []
    done, cancelled = post(api), post(api)
    result = finish(store, objects, done)
    _, token = start(store, cancelled)
    time.sleep(0.2)
    run_ms = [store.cancelled(cancelled, token).run_ms, store.get(done).run_ms]
    (today,) = api.get("/usage").json()["items"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", today["period"])
    assert (today["panoramas"], today["bytes"]) == (1, result.bytes)
    assert run_ms[0] >= 200
    assert today["gpu_s"] == pytest.approx(sum(run_ms) / 1_000)
    redis.hset(redis_keys.usage("default"), "20000:gpu_ms", 1_500)
    months = api.get("/usage", params={"by": "month"}).json()["items"]
    assert months[0] == {"period": "2024-10", "panoramas": 0, "gpu_s": 1.5, "bytes": 0}
    assert months[1] == today | {"period": today["period"][:7]}
    problem(api.get("/usage", params={"by": "year"}), 422, "invalid_params")
