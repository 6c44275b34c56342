"""What version 0.1.0 stored is read, and its jobs go on."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events, models, stats
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore, LostJob
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.jobs.old_data import FOLDER, OldData, load_old_data
from tests.jobs.samples import TRAITS, new_record, progress, result_of, start_job


@pytest.fixture
def old(redis: Redis) -> OldData:
    return load_old_data(redis)


def test_records_are_read(old: OldData, store: JobStore) -> None:
    found = {name: store.get(job_id) for name, job_id in old.jobs.items()}
    assert {name: record.status for name, record in found.items()} == {
        "succeeded": Status.SUCCEEDED,
        "preempted": Status.QUEUED,
        "failed": Status.FAILED,
        "cancelled": Status.CANCELLED,
        "running": Status.RUNNING,
        "queued": Status.QUEUED,
    }
    succeeded, running, failed = found["succeeded"], found["running"], found["failed"]
    assert succeeded.result is not None
    assert succeeded.result.keys.image == f"default/{succeeded.id}/1/panorama.png"
    assert (succeeded.metadata, succeeded.params.steps) == ({"order": "succeeded"}, 2)
    assert succeeded.trace is not None
    assert succeeded.trace.request_id == "request-succeeded"
    assert (running.attempts, running.lost_attempts) == (2, 1)
    assert running.progress is not None
    assert running.progress.step == 2
    assert [region.prompt for region in running.params.regions] == ["a lighthouse"]
    assert failed.error is not None
    assert failed.error.code is FailureCode.STORAGE_UNAVAILABLE
    assert store.counts() == (2, 1)


def test_listings_events_and_stats_are_read(old: OldData, store: JobStore, redis: Redis) -> None:
    listed = [record.id for record in store.list("default").records]
    mine = [job_id for name, job_id in old.jobs.items() if name != "cancelled"]
    assert listed == sorted(mine, reverse=True)
    seen = [event.type for event in events.read(redis, old.jobs["preempted"])]
    assert seen == ["created", "started", "progress", "progress", "progress", "requeued"]
    counted = stats.read(redis)
    assert counted.requeued == {"preempted": 1, "worker_lost": 1}
    assert counted.ended[stats.Ending("failed", "storage_unavailable")] == 1


def test_jobs_that_wait_are_run_in_their_order(old: OldData, store: JobStore, redis: Redis) -> None:
    waiting = [store.get(old.jobs[name]) for name in ("preempted", "queued")]
    assert Queue(redis).estimate(waiting).places == {waiting[0].id: 0, waiting[1].id: 1}
    assert Savepoints(redis, Settings()).load(old.jobs["preempted"]) is not None
    for record in waiting:
        started = start_job(store, record.id)
        assert started.token is not None
        assert started.attempts == record.attempts + 1
        done = store.succeed(record.id, started.token, result_of(started))
        assert done.status is Status.SUCCEEDED
    assert store.claim("worker-1", "embedded") is None
    assert Savepoints(redis, Settings()).load(old.jobs["preempted"]) is None


def test_its_running_attempt_reports_and_is_cancelled(old: OldData, store: JobStore) -> None:
    running = store.get(old.jobs["running"])
    assert running.token is not None
    assert not store.heartbeat(running.id, running.token).cancel_requested
    assert store.request_cancel(running.id).cancel_requested
    assert store.heartbeat(running.id, running.token).cancel_requested
    assert store.cancelled(running.id, running.token).status is Status.CANCELLED
    assert store.request_cancel(old.jobs["queued"]).status is Status.CANCELLED


def test_a_lost_attempt_counts_with_those_before(
    old: OldData, store: JobStore, redis: Redis
) -> None:
    running = store.get(old.jobs["running"])
    redis.zadd(redis_keys.LEASES, {running.id: 0})
    requeued = store.expire_lost(LostJob(running.id, running.token or ""))
    assert (requeued.status, requeued.lost_attempts) == (Status.QUEUED, 2)
    assert stats.read(redis).requeued["worker_lost"] == 2


def test_a_failed_job_is_retried_and_an_ended_one_deleted(
    old: OldData, store: JobStore, redis: Redis
) -> None:
    assert store.retry(store.get(old.jobs["failed"])).status is Status.QUEUED
    store.delete(old.jobs["succeeded"])
    assert redis.keys(f"*{old.jobs['succeeded']}*") == []
    entries = redis.zrange(redis_keys.ORPHANS, 0, -1)
    assert f"all:{old.jobs['succeeded']}:1:default".encode() in entries


def test_deliveries_and_secrets_are_read(old: OldData, redis: Redis, settings: Settings) -> None:
    deliveries = Deliveries(redis, settings)
    started, succeeded = deliveries.of(old.jobs["succeeded"])
    assert (started.delivery.state, started.tries[0].status) == (State.DELIVERED, 204)
    assert (succeeded.delivery.state, succeeded.tries[0].status) == (State.PENDING, 500)
    due = deliveries.claim(10, 60)
    assert {delivery.job_id for delivery in due} == {old.jobs["preempted"], old.jobs["failed"]}
    (secret,) = WebhookSecrets(redis).of("default")
    assert secret.secret.get_secret_value().startswith("whsec_")


def test_keys_of_clients_and_of_requests_are_read(old: OldData, redis: Redis) -> None:
    key = ApiKeys(redis).find(old.api_token)
    assert key is not None
    assert (key.tenant, key.scopes) == ("default", ("read", "write"))
    begun = Idempotency(redis).begin("default", "order-7", "fingerprint", "pano_unused")
    assert begun.job_id == "pano_unused"
    assert json.loads(begun.answer or "")["id"] == old.jobs["queued"]


@pytest.mark.usefixtures("old")
def test_the_published_model_is_read(redis: Redis) -> None:
    assert models.traits(redis, "embedded").window_px == 128
    assert [worker.worker for worker in models.live_workers(redis)] == ["worker-of-cf4d464"]


def test_version_0_1_reads_what_is_stored_today(redis: Redis, store: JobStore) -> None:
    """A worker that is upgraded first does not break the API of 0.1.0, which accepts no further
    field in what workers publish."""
    schemas = json.loads((FOLDER / "schemas.json").read_text())
    published = ModelState(
        model="m", state="ready", traits=TRAITS, perceptual="stlpips-alex", worker="worker-1"
    )
    models.publish(redis, published)
    for text in (redis.hget(redis_keys.MODELS, "m"), redis.get(redis_keys.worker("worker-1"))):
        jsonschema_rs.validate(schemas["ModelState"], json.loads(text or b""))
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schemas["ModelState"], json.loads(text or b"") | {"added": 1})
    started = start_job(store, store.create(new_record()).id)
    store.report(started.id, started.token or "", progress(1))
    done = store.succeed(started.id, started.token or "", result_of(started))
    jsonschema_rs.validate(schemas["JobRecord"], done.model_dump(mode="json", exclude_none=True))


def test_a_stored_record_has_the_same_fields(old: OldData) -> None:
    """metadata.json in S3: the record without what passes."""
    stored = json.loads((FOLDER / "metadata.json").read_text())
    record = JobRecord.model_validate(stored)
    assert (record.id, record.status) == (old.jobs["succeeded"], Status.SUCCEEDED)
    passing = {"token", "progress", "cancel_requested", "webhook"}
    written = record.model_dump(mode="json", exclude=passing)
    written["result"] = {name: written["result"][name] for name in stored["result"]}
    assert {name: written[name] for name in stored} == stored
