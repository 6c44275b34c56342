"""A job with a webhook, and the deliveries of it."""

from __future__ import annotations

from typing import Any

from panoweave.core.jobs.record import JobRecord, Webhook, WebhookEvent
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, DeliveryHistory
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.jobs.samples import WEBHOOK, new_record, progress, result_of, start_job


def post(
    store: JobStore, url: str, *events: WebhookEvent, tenant: str = "default", **metadata: Any
) -> JobRecord:
    webhook = Webhook(url=url, events=events or WEBHOOK.events)
    record = new_record(prompt="a secret garden", tenant=tenant, metadata=metadata)
    return store.create(record.model_copy(update={"webhook": webhook}))


def succeed(store: JobStore, record: JobRecord) -> JobRecord:
    started = start_job(store, record.id, "worker-1")
    assert started.token is not None
    store.report(record.id, started.token, progress(3))
    return store.succeed(record.id, started.token, result_of(started))


def deliver_all(dispatcher: WebhookDispatcher, deliveries: Deliveries) -> None:
    for delivery in deliveries.claim(100, 60):
        dispatcher.deliver(delivery)


def only(deliveries: Deliveries, record: JobRecord) -> DeliveryHistory:
    (history,) = deliveries.of(record.id)
    return history
