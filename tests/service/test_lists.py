"""Lists of panoramas: filters and totals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.jobs import listing
from panoweave.core.jobs.listing import Filter
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.service.checks import at_fault
from tests.service.steps import post

DAY = datetime(2026, 11, 25, tzinfo=UTC)


def listed(api: httpx.Client, **query: str | list[str]) -> list[str]:
    answer = api.get("/panoramas", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def on_days(api: httpx.Client, redis: Redis, count: int) -> list[str]:
    """Panoramas that were accepted on one day each."""
    ids = [post(api) for _ in range(count)]
    for number, job_id in enumerate(ids):
        created_ms = int((DAY + timedelta(days=number)).timestamp() * 1_000)
        redis.hset(redis_keys.job(job_id), "created_at", created_ms)
    return ids


def test_by_several_statuses(api: httpx.Client) -> None:
    queued, cancelled, _ = (post(api) for _ in range(3))
    api.post(f"/panoramas/{cancelled}/cancel")
    assert listed(api, status="cancelled") == [cancelled]
    assert listed(api, status=["cancelled", "failed"]) == [cancelled]
    both = listed(api, status=["cancelled", "queued"])
    assert (len(both), both[1:]) == (3, [cancelled, queued])


def test_by_time(api: httpx.Client, redis: Redis) -> None:
    ids = on_days(api, redis, 4)
    noon = (DAY + timedelta(days=1, hours=12)).isoformat().replace("+00:00", "Z")
    assert listed(api, created_after=noon) == [ids[3], ids[2]]
    assert listed(api, created_before=noon) == [ids[1], ids[0]]
    assert listed(api, created_before=noon, created_after=DAY.isoformat()) == [ids[1]]
    elsewhere = (DAY + timedelta(days=1, hours=14)).strftime("%Y-%m-%dT%H:%M:%S+02:00")
    assert listed(api, created_after=elsewhere) == [ids[3], ids[2]]


def test_by_metadata(api: httpx.Client) -> None:
    first = post(api, metadata={"order": 7, "shop": "a:b", "gift": True, "note": None})
    second = post(api, metadata={"order": "7", "lines": [1, 2]})
    post(api)
    assert listed(api, metadata="order:7") == [second, first]  # as text, both are 7
    assert listed(api, metadata=["order:7", "shop:a:b"]) == [first]
    assert listed(api, metadata="gift:true") == listed(api, metadata="note:null") == [first]
    assert listed(api, metadata="lines:[1,2]") == [second]
    assert listed(api, metadata="order:") == listed(api, metadata="color:red") == []


def test_together_and_page_by_page(api: httpx.Client) -> None:
    ids = [post(api, metadata={"even": number % 2 == 0}) for number in range(6)]
    query = {"metadata": "even:true", "status": "queued", "limit": "2"}
    first = api.get("/panoramas", params=query).json()
    rest = api.get("/panoramas", params={**query, "cursor": first["next_cursor"]}).json()
    found = [item["id"] for page in (first, rest) for item in page["items"]]
    assert found == [ids[4], ids[2], ids[0]]
    assert rest["next_cursor"] is None


def test_totals(api: httpx.Client, store: JobStore) -> None:
    for number in range(3):
        post(api, metadata={"even": number % 2 == 0})
    store.create(new_record(tenant="ada"))
    for query, total in (
        ({}, 3),
        ({"metadata": "even:true"}, 2),
        ({"status": "queued", "limit": "1"}, 3),
        ({"status": "failed"}, 0),
    ):
        page = api.get("/panoramas", params={**query, "total": "true"}).json()
        assert page["total"] == total
    assert "total" not in api.get("/panoramas").json()


def test_a_record_that_has_expired_does_not_count(
    api: httpx.Client, redis: Redis, store: JobStore
) -> None:
    gone, kept = post(api), post(api)
    redis.delete(redis_keys.job(gone))
    page = api.get("/panoramas", params={"total": "true"}).json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([kept], 1)
    assert store.count("default", Filter()) == 1


def test_what_is_read_for_a_page_is_bounded(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few match: the page is short, and its cursor goes on."""
    monkeypatch.setattr(listing, "SCANNED_A_PAGE", 4)
    monkeypatch.setattr(listing, "MAX_COUNTED", 8)
    monkeypatch.setattr(listing, "_CHUNK", 3)
    wanted = post(api, metadata={"order": 7})
    for _ in range(9):
        post(api)
    query = {"metadata": "order:7", "total": "true"}
    pages = [api.get("/panoramas", params=query).json()]
    while cursor := pages[-1]["next_cursor"]:
        pages.append(api.get("/panoramas", params={**query, "cursor": cursor}).json())
    assert [[item["id"] for item in page["items"]] for page in pages] == [[], [], [wanted]]
    assert all("total" not in page for page in pages)


@pytest.mark.parametrize(
    ("query", "field", "legal"),
    [
        ({"status": ["queued", "lost"]}, "status", "'queued' or 'running'"),
        ({"created_after": "yesterday"}, "created_after", "a time with its zone"),
        ({"created_after": "1795597252"}, "created_after", "a time with its zone"),
        ({"created_before": "2026-11-25T00:00:00"}, "created_before", "a time with its zone"),
        ({"metadata": "order"}, "metadata", "name:value"),
        ({"metadata": ":7"}, "metadata", "name:value"),
        ({"metadata": "order:" + "7" * 300}, "metadata", "up to 300 characters"),
        ({"metadata": [f"a{n}:1" for n in range(6)]}, "metadata", "up to 5 times"),
        ({"total": "maybe"}, "total", "true or false"),
    ],
)
def test_wrong_filters_are_refused(
    api: httpx.Client, query: dict[str, str | list[str]], field: str, legal: str
) -> None:
    error = at_fault(api.get("/panoramas", params=query))
    assert error["field"] == field
    assert legal in error["legal"]
