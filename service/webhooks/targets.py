"""Validates the `webhook` of a request."""

from __future__ import annotations

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.record import BATCH_ENDED, EXPIRED, Webhook, WebhookEvent
from panoweave.core.webhooks.targets import BadTarget, TargetRules
from panoweave.service.dependencies import Context
from panoweave.service.schemas import PanoramaRequest, WebhookRequest


def validate_webhook(context: Context, tenant: str, request: PanoramaRequest) -> Webhook | None:
    """Raises InvalidParams if the target is never allowed, if there is no secret to sign with, or
    if an event cannot happen.

    Names are resolved when a webhook is delivered, and the addresses are checked then.
    """
    webhook = request.webhook
    if webhook is None:
        return None
    check_target(context, "webhook.url", webhook.url)
    check_secret(context, "webhook", tenant)
    return Webhook(url=webhook.url, events=_events(request, webhook))


def check_target(context: Context, field: str, url: str) -> None:
    try:
        TargetRules.of(context.settings).check(url)
    except BadTarget as error:
        raise InvalidParams(field, error.problem, error.legal) from error


def check_secret(context: Context, field: str, tenant: str) -> None:
    if not context.webhook_secrets.of(tenant):
        raise InvalidParams(
            field,
            "there is nothing to sign it with",
            f"once there is a secret: panoweave webhook-secrets create --tenant {tenant}",
        )


def _events(request: PanoramaRequest, webhook: WebhookRequest) -> tuple[WebhookEvent, ...]:
    """Those asked for; by default also the ends that only some requests can have."""
    conditions: tuple[tuple[WebhookEvent, str, bool], ...] = (
        (EXPIRED, "start_within_s", request.start_within_s is not None),
        (BATCH_ENDED, "n above 1", request.n > 1),
    )
    events = tuple(webhook.events)
    if "events" not in webhook.model_fields_set:
        return (*events, *(event for event, _, is_met in conditions if is_met))
    for event, needs, is_met in conditions:
        if event in events and not is_met:
            problem = f"{event} cannot happen without {needs}"
            raise InvalidParams("webhook.events", problem, f"{event} with {needs}")
    return events
