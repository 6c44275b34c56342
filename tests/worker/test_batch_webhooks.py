"""One webhook for each panorama of a batch, and one for the batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from panoweave.core.jobs.record import BATCH_ENDED, JobRecord, Webhook, batch_id_of, job_ids
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.worker.webhook_payload import MAX_BYTES
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.jobs.samples import FAILURE, WEBHOOK, new_record, start_job
from tests.receivers import Receiver, answer, receiving
from tests.worker.outbox import deliver_all, succeed

LARGEST_METADATA = {"text": "x" * 8_150}


def post_batch(
    store: JobStore, url: str, count: int, metadata: dict[str, Any] | None = None
) -> list[JobRecord]:
    webhook = Webhook(url=url, events=(*WEBHOOK.events, BATCH_ENDED))
    first = new_record(metadata=metadata, prompt="a secret garden")
    return list(
        store.create_all(
            [
                first.model_copy(
                    update={"id": each, "batch_id": batch_id_of(first.id), "webhook": webhook}
                )
                for each in job_ids(first.id, count)
            ]
        )
    )


def fail(store: JobStore, record: JobRecord) -> JobRecord:
    started = start_job(store, record.id)
    assert started.token is not None
    return store.fail(record.id, started.token, FAILURE)


def batch_messages(receiver: Receiver, secret: str) -> list[Any]:
    """In order; webhook-ids may repeat."""
    messages = [(each.headers["webhook-id"], each.verified(secret)) for each in receiver.received]
    return [(id_, message) for id_, message in messages if message["type"] == BATCH_ENDED]


def test_a_batch_ends_with_its_last_panorama(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        first, second, third = post_batch(store, receiver.url, 3, {"order": 7})
        succeed(store, first)
        fail(store, second)
        deliver_all(dispatcher, deliveries)
        assert batch_messages(receiver, secret) == []
        store.request_cancel(third.id)
        deliver_all(dispatcher, deliveries)
    types = [each.verified(secret)["type"] for each in receiver.received]
    assert sorted(types) == [
        BATCH_ENDED,
        "panorama.cancelled",
        "panorama.failed",
        "panorama.succeeded",
    ]
    ((webhook_id, message),) = batch_messages(receiver, secret)
    assert first.batch_id is not None
    assert webhook_id == f"whk_{first.batch_id.removeprefix('batch_')}_batch_ended_0"
    data = message["data"]
    assert (data["id"], data["metadata"]) == (first.batch_id, {"order": 7})
    assert [item["id"] for item in data["items"]] == [first.id, second.id, third.id]
    assert [item["status"] for item in data["items"]] == ["succeeded", "failed", "cancelled"]
    assert data["items"][1]["error"]["code"] == "generation_failed"
    assert b"garden" not in receiver.received[-1].body


def test_a_retry_ends_the_batch_once_more(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        first, second = post_batch(store, receiver.url, 2)
        failed = fail(store, first)
        succeed(store, second)
        deliver_all(dispatcher, deliveries)
        store.retry(failed)
        succeed(store, failed)
        deliver_all(dispatcher, deliveries)
    (once, before), (again, after) = batch_messages(receiver, secret)
    assert (once[-2:], again[-2:]) == ("_0", "_1")
    assert [item["status"] for item in before["data"]["items"]] == ["failed", "succeeded"]
    assert [item["status"] for item in after["data"]["items"]] == ["succeeded", "succeeded"]


def test_a_repeated_end_is_no_second_one(
    store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    (only,) = post_batch(store, "https://example.com/hook", 1)
    store.request_cancel(only.id)
    store.request_cancel(only.id)
    assert only.batch_id is not None
    assert len(deliveries.of(only.batch_id)) == 1
    assert [each.delivery.type for each in deliveries.of_job(only)] == [
        "panorama.cancelled",
        BATCH_ENDED,
    ]
    assert redis.ttl(f"panoweave:deliveries:{only.batch_id}") > 0


def test_a_deleted_panorama_is_left_out(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        first, second = post_batch(store, receiver.url, 2)
        store.request_cancel(first.id)
        store.delete(first.id)
        store.request_cancel(second.id)
        deliver_all(dispatcher, deliveries)
    ((_, message),) = batch_messages(receiver, secret)
    assert [item["id"] for item in message["data"]["items"]] == [second.id]


@pytest.mark.usefixtures("secret")
def test_a_batch_without_panoramas_is_forgotten(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries
) -> None:
    with receiving() as receiver:
        (only,) = post_batch(store, receiver.url, 1)
        store.request_cancel(only.id)
        store.delete(only.id)
        deliver_all(dispatcher, deliveries)
    assert receiver.received == []
    (history,) = deliveries.of_job(only)
    assert [each.error for each in history.tries] == ["job_forgotten"]


@pytest.mark.usefixtures("secret")
def test_a_receiver_that_wants_no_more_is_spared(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries
) -> None:
    with receiving(answer(410)) as receiver:
        first, second = post_batch(store, receiver.url, 2)
        store.request_cancel(first.id)
        store.request_cancel(second.id)
        deliver_all(dispatcher, deliveries)
    assert {each.delivery.state for each in deliveries.of_job(second)} == {State.GONE}


def test_the_largest_is_small_enough(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        for record in post_batch(store, receiver.url, 10, LARGEST_METADATA):
            fail(store, record)
        deliver_all(dispatcher, deliveries)
    assert max(len(each.body) for each in receiver.received) < MAX_BYTES
    ((_, message),) = batch_messages(receiver, secret)
    assert len(message["data"]["items"]) == 10
    assert len(json.dumps(message["data"]["metadata"])) > 8_000
