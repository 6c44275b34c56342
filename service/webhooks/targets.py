"""Validates the `webhook` of a request."""

from __future__ import annotations

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.record import BATCH_ENDED, Webhook, WebhookEvent
from panoweave.core.webhooks.targets import BadTarget, TargetRules
from panoweave.service.dependencies import Context
from panoweave.service.schemas import WebhookRequest


def validate_webhook(
    context: Context, tenant: str, request: WebhookRequest | None, *, is_batch: bool
) -> Webhook | None:
    """Raises InvalidParams if the target is never allowed, if there is no secret to sign with, or
    if an event cannot happen.

    Names are resolved when a webhook is delivered, and the addresses are checked then.
    """
    if request is None:
        return None
    try:
        TargetRules.of(context.settings).check(request.url)
    except BadTarget as error:
        raise InvalidParams("webhook.url", error.problem, error.legal) from error
    if not context.webhook_secrets.of(tenant):
        raise InvalidParams(
            "webhook",
            "there is nothing to sign it with",
            f"once there is a secret: panoweave webhook-secrets create --tenant {tenant}",
        )
    return Webhook(url=request.url, events=_events(request, is_batch=is_batch))


def _events(request: WebhookRequest, *, is_batch: bool) -> tuple[WebhookEvent, ...]:
    events = tuple(request.events)
    if is_batch and "events" not in request.model_fields_set:
        return (*events, BATCH_ENDED)
    if BATCH_ENDED in events and not is_batch:
        legal = f"{BATCH_ENDED} with n above 1"
        raise InvalidParams("webhook.events", "one panorama is no batch", legal)
    return events
