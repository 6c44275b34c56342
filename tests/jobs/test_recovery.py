"""Redis is lost with all it holds; what S3 holds comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.errors import NotFound
from panoweave.core.jobs.orphan_cleanup import remove_orphans
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.recovery import Outcome, Recovery
from panoweave.core.jobs.store import JobStore
from panoweave.core.jobs.usage import by_day
from tests.jobs.samples import new_record, result_of, start_job


def put(objects: ObjectStore, key: str, body: bytes = b"x") -> None:
    objects.put(key, body, "application/octet-stream", hashlib.sha256(body).hexdigest())


def stored_success(store: JobStore, objects: ObjectStore, record: JobRecord) -> JobRecord:
    """A job that has succeeded, with its objects as a worker leaves them."""
    store.create(record)
    running = start_job(store, record.id)
    assert running.token
    done = store.succeed(record.id, running.token, result_of(running))
    passing = {"token", "progress", "cancel_requested", "webhook"}
    metadata = json.dumps(done.model_dump(mode="json", exclude=passing)).encode()
    put(objects, done.keys.metadata, metadata)
    put(objects, done.keys.image)
    return done


def recover(
    redis: Redis, objects: ObjectStore, settings: Settings, *, dry_run: bool = False
) -> dict[Outcome, int]:
    counts: dict[Outcome, int] = {}
    for each in Recovery(redis, objects, settings, dry_run=dry_run).run():
        counts = dict(each)
    return counts


def test_successes_come_back_as_they_were(
    redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    store = JobStore(redis, settings)
    done = [stored_success(store, objects, new_record(tenant)) for tenant in ("acme", "acme", "b")]
    used = by_day(redis, "acme")
    page = store.list("acme")
    redis.flushall()
    with pytest.raises(NotFound):
        store.get(done[0].id)

    assert recover(redis, objects, settings, dry_run=True) == {Outcome.RESTORED: 3}
    assert redis.dbsize() == 0
    assert recover(redis, objects, settings) == {Outcome.RESTORED: 3}
    for record in done:
        found = store.get(record.id, record.tenant)
        lost = {"webhook": None, "token": None}
        assert found == record.model_copy(update=lost)
        assert 0 < redis.ttl(f"panoweave:job:{record.id}") <= settings.job_ttl_s
        [event] = events.read(redis, record.id, limit=10)
        assert (event.type, event.status) == ("succeeded", Status.SUCCEEDED)
    assert [each.id for each in store.list("acme").records] == [each.id for each in page.records]
    assert [each.id for each in store.list("b", Status.SUCCEEDED).records] == [done[2].id]
    now = by_day(redis, "acme")
    assert {day: used_then[:1] + used_then[2:] for day, used_then in now.items()} == {
        day: used_then[:1] + used_then[2:] for day, used_then in used.items()
    }  # seconds of GPUs as the results have them
    assert redis.zcard("panoweave:outbox") == 0  # nobody hears of it again
    assert store.delete(done[0].id).id == done[0].id
    assert recover(redis, objects, settings) == {Outcome.KNOWN: 3}


def test_what_had_not_succeeded_is_lost_and_tidied_up(
    redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    lost = new_record()
    put(objects, f"default/{lost.id}/inputs/anchor_image.png")
    put(objects, "default/uploads/upl_1/picture")
    put(objects, "somebody/elses.txt")
    arriving = new_record()
    put(objects, f"default/{arriving.id}/inputs/anchor_image.png")
    assert recover(redis, objects, settings) == {Outcome.LOST: 2, Outcome.UPLOAD: 1}
    JobStore(redis, settings).create(arriving)  # its request was under way
    entries: Any = redis.zrange("panoweave:untidy", 0, -1)
    redis.zadd("panoweave:untidy", dict.fromkeys(entries, 0))
    remove_orphans(redis, objects)
    assert objects.list("") == [
        f"default/{arriving.id}/inputs/anchor_image.png",
        "somebody/elses.txt",
    ]


def test_of_several_attempts_the_last_one_counts_and_the_others_are_removed(
    redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    store = JobStore(redis, settings)
    record = new_record()
    store.create(record)
    first = start_job(store, record.id)
    assert first.token
    put(objects, first.keys.image)
    store.requeue(record.id, first.token, "preempted")
    second = start_job(store, record.id)
    assert second.token
    done = store.succeed(record.id, second.token, result_of(second))
    put(objects, done.keys.metadata, done.model_dump_json(exclude={"token", "webhook"}).encode())
    put(objects, done.keys.image)
    redis.flushall()
    assert recover(redis, objects, settings) == {Outcome.RESTORED: 1}
    assert store.get(record.id).attempts == 2
    remove_orphans(redis, objects)
    assert objects.list("") == sorted([done.keys.metadata, done.keys.image])


def test_the_old_the_broken_and_the_strange_stay(
    redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    store = JobStore(redis, settings)
    old = stored_success(store, objects, new_record())
    finished_at = datetime.now(UTC) - timedelta(seconds=settings.job_ttl_s + 1)
    body = old.model_copy(update={"finished_at": finished_at}).model_dump_json().encode()
    put(objects, old.keys.metadata, body)
    broken, strange = new_record(), new_record("mallory")
    put(objects, f"default/{broken.id}/1/metadata.json", b"{")
    put(objects, f"mallory/{strange.id}/1/metadata.json", old.model_dump_json().encode())
    before: Sequence[str] = objects.list("")
    redis.flushall()
    assert recover(redis, objects, settings) == {Outcome.EXPIRED: 1, Outcome.UNREADABLE: 2}
    assert redis.dbsize() == 0
    assert objects.list("") == before


def test_what_expires_still_does(redis: Redis, objects: ObjectStore, settings: Settings) -> None:
    """`expires_in` is a promise that the picture is gone by then."""
    store = JobStore(redis, settings)
    soon, later = (
        stored_success(store, objects, new_record().model_copy(update={"expires_in": seconds}))
        for seconds in (60, 31_536_000)
    )
    past = stored_success(store, objects, new_record().model_copy(update={"expires_in": 60}))
    assert past.finished_at is not None
    body = past.model_copy(update={"finished_at": past.finished_at - timedelta(seconds=61)})
    put(objects, past.keys.metadata, body.model_dump_json().encode())
    redis.flushall()
    assert recover(redis, objects, settings) == {Outcome.RESTORED: 2, Outcome.EXPIRED: 1}
    assert 55 < redis.ttl(f"panoweave:job:{soon.id}") <= 60
    for record in (soon, later):
        assert record.expires_at is not None
        due: Any = redis.zscore("panoweave:untidy", f"all:{record.id}:1:default")
        assert due / 1_000 == pytest.approx(record.expires_at.timestamp(), abs=0.01)
    remove_orphans(redis, objects)
    assert objects.list(f"default/{past.id}/") == []
    assert len(objects.list(f"default/{soon.id}/")) == 2


def test_what_was_just_deleted_does_not_come_back(
    redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    """Its objects are removed a minute later."""
    store = JobStore(redis, settings)
    record = stored_success(store, objects, new_record())
    store.delete(record.id)
    assert recover(redis, objects, settings) == {Outcome.KNOWN: 1}
    with pytest.raises(NotFound):
        store.get(record.id)
