"""Turns the delivery history of a panorama's webhook into what a client reads."""

from __future__ import annotations

from collections.abc import Sequence

from panoweave.core.jobs.record import JobRecord
from panoweave.core.webhooks.deliveries import DeliveryHistory
from panoweave.service.schemas import DeliveryList, DeliveryView, TryView
from panoweave.service.webhooks.schemas import PingView


def delivery_list(record: JobRecord, histories: Sequence[DeliveryHistory]) -> DeliveryList:
    webhook = record.webhook
    return DeliveryList(
        url=webhook.url if webhook else None,
        events=list(webhook.events) if webhook else [],
        items=[_delivery_view(history) for history in histories],
    )


def ping_view(history: DeliveryHistory) -> PingView:
    delivery = history.delivery
    return PingView(
        **delivery.model_dump(include={"id", "tenant", "url", "state"}),
        created_at=delivery.happened_at,
        tries=[TryView(**each.model_dump()) for each in history.tries],
    )


def _delivery_view(history: DeliveryHistory) -> DeliveryView:
    return DeliveryView(
        **history.delivery.model_dump(include={"id", "type", "happened_at", "state"}),
        next_try_at=history.next_try_at,
        tries=[TryView(**each.model_dump()) for each in history.tries],
    )
