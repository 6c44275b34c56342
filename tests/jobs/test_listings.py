"""Pages of a tenant's jobs, against a real Redis."""

from __future__ import annotations

from typing import Any

from redis import Redis

from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record


def test_a_listing_neither_repeats_nor_skips_while_jobs_arrive(store: JobStore) -> None:
    first = [store.create(new_record()).id for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = store.list("default", limit=3, cursor=cursor)
        seen += [record.id for record in page.records]
        store.create(new_record())  # newer than every page to come
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(first, reverse=True)


def test_a_page_reads_no_more_than_its_jobs_and_the_next(store: JobStore, redis: Redis) -> None:
    for _ in range(20):
        store.create(new_record())
    before: Any = redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})
    assert len(store.list("default", limit=3).records) == 3
    after: Any = redis.info("commandstats")["cmdstat_hmget"]
    assert after["calls"] - before["calls"] == 4
