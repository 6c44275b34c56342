"""Whether a webhook can be accepted, and the history of a job's deliveries."""

from __future__ import annotations

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.record import JobRecord, Webhook
from panoweave.core.webhooks.deliveries import DeliveryHistory
from panoweave.core.webhooks.targets import BadTarget, TargetRules
from panoweave.service.dependencies import Context
from panoweave.service.schemas import DeliveryList, DeliveryView, TryView, WebhookRequest


def checked(context: Context, tenant: str, asked: WebhookRequest | None) -> Webhook | None:
    """Raises InvalidParams where nothing could ever be delivered."""
    if asked is None:
        return None
    try:
        TargetRules.of(context.settings).check(asked.url)
    except BadTarget as error:
        raise InvalidParams("webhook.url", error.problem, error.legal) from error
    if not context.webhook_secrets.of(tenant):
        raise InvalidParams(
            "webhook",
            "there is nothing to sign it with",
            f"once there is a secret: panoweave webhook-secrets create --tenant {tenant}",
        )
    return Webhook(url=asked.url, events=tuple(asked.events))


def delivery_list(record: JobRecord, histories: list[DeliveryHistory]) -> DeliveryList:
    webhook = record.webhook
    return DeliveryList(
        url=webhook.url if webhook else None,
        events=list(webhook.events) if webhook else [],
        items=[_view(each) for each in histories],
    )


def _view(history: DeliveryHistory) -> DeliveryView:
    kept = {"id", "type", "happened_at", "state"}
    return DeliveryView(
        **history.delivery.model_dump(include=kept),
        next_try_at=history.next_try_at,
        tries=[TryView(**each.model_dump()) for each in history.tries],
    )
