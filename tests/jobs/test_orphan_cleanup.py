"""What attempts that did not end their job left in the bucket."""

from __future__ import annotations

import hashlib
from typing import Any

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.orphan_cleanup import expect_uploads, remove_orphans
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, new_record, result_of, start_job

EXPIRY = redis_keys.PREFIX + "expiry"


def attempt(store: JobStore, objects: ObjectStore, record: JobRecord) -> tuple[JobRecord, str]:
    """One that stores its picture, and the job's own."""
    started = start_job(store, record.id, "worker-1")
    for key in (started.keys.image, f"{record.tenant}/{record.id}/inputs/anchor_image.png"):
        objects.put(key, b"x", "image/png", hashlib.sha256(b"x").hexdigest())
    assert started.token is not None
    return started, started.token


def names(objects: ObjectStore, record: JobRecord) -> list[str]:
    folder = f"{record.tenant}/{record.id}/"
    return [key.removeprefix(folder) for key in objects.list(folder)]


def as_if_later(redis: Redis) -> None:
    due: Any = redis.zrange(redis_keys.ORPHANS, 0, -1)
    redis.zadd(redis_keys.ORPHANS, dict.fromkeys(due, 0))


def test_of_several_attempts_the_one_that_ended_it_keeps_its_objects(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    record = store.create(new_record())
    _, token = attempt(store, objects, record)
    store.requeue(record.id, token, "preempted")
    second, token = attempt(store, objects, record)
    store.succeed(record.id, token, result_of(second))
    assert remove_orphans(redis, objects) == 0  # a worker that was taken for dead may be at it yet
    as_if_later(redis)
    assert remove_orphans(redis, objects) == 1
    assert names(objects, record) == ["2/panorama.png", "inputs/anchor_image.png"]
    assert redis.zcard(redis_keys.ORPHANS) == 0


def test_one_attempt_that_succeeds_leaves_nothing_to_tidy(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    record, token = attempt(store, objects, store.create(new_record()))
    store.succeed(record.id, token, result_of(record))
    assert redis.zcard(redis_keys.ORPHANS) == 0


def test_of_one_that_failed_what_came_with_the_request_is_kept_for_a_retry(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    record, token = attempt(store, objects, store.create(new_record()))
    store.fail(record.id, token, FAILURE)
    as_if_later(redis)
    remove_orphans(redis, objects)
    assert names(objects, record) == ["inputs/anchor_image.png"]


def test_one_that_is_tried_again_keeps_what_it_has_stored_since(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    record, token = attempt(store, objects, store.create(new_record()))
    failed = store.fail(record.id, token, FAILURE)
    store.retry(failed)
    attempt(store, objects, record)
    as_if_later(redis)
    assert remove_orphans(redis, objects) == 1
    assert names(objects, record) == ["2/panorama.png", "inputs/anchor_image.png"]


def test_of_a_deleted_one_nothing_is_left(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    record, token = attempt(store, objects, store.create(new_record()))
    store.fail(record.id, token, FAILURE)
    store.delete(record.id)
    as_if_later(redis)
    assert remove_orphans(redis, objects) == 2
    assert names(objects, record) == []


def test_a_picture_outlives_its_record(store: JobStore, objects: ObjectStore, redis: Redis) -> None:
    """However late somebody looks after the other attempts' objects."""
    record = store.create(new_record())
    _, token = attempt(store, objects, record)
    store.requeue(record.id, token, "preempted")
    second, token = attempt(store, objects, record)
    store.succeed(record.id, token, result_of(second))
    redis.delete(redis_keys.job(record.id))  # as if it had expired
    as_if_later(redis)
    assert remove_orphans(redis, objects) == 1
    assert names(objects, record) == ["2/panorama.png", "inputs/anchor_image.png"]


def test_where_the_record_expires_without_a_picture_nothing_is_left(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    failed, token = attempt(store, objects, store.create(new_record()))
    store.fail(failed.id, token, FAILURE)
    made, token = attempt(store, objects, store.create(new_record()))
    store.succeed(made.id, token, result_of(made))
    redis.delete(redis_keys.job(failed.id), redis_keys.job(made.id))
    expiring: Any = redis.zrange(EXPIRY, 0, -1)
    redis.zadd(EXPIRY, dict.fromkeys(expiring, 0))
    store.request_cancel(store.create(new_record()).id)  # each end looks for what has expired
    remove_orphans(redis, objects)
    assert names(objects, failed) == []
    assert names(objects, made) == ["1/panorama.png", "inputs/anchor_image.png"]


def test_what_was_stored_for_a_job_that_was_never_taken_in_goes_again(
    store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    taken_in, repeated, forgotten = (new_record() for _ in range(3))
    store.create(repeated)
    for record in (taken_in, repeated, forgotten):
        expect_uploads(redis, record.id, record.tenant)
        key = f"{record.tenant}/{record.id}/inputs/anchor_image.png"
        objects.put(key, b"x", "image/png", hashlib.sha256(b"x").hexdigest())
    store.create(taken_in)
    assert remove_orphans(redis, objects) == 0  # its request may be under way
    as_if_later(redis)
    assert remove_orphans(redis, objects) == 1
    for record in (taken_in, repeated):
        assert names(objects, record) == ["inputs/anchor_image.png"]
