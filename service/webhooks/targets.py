"""Validates the `webhook` of a request."""

from __future__ import annotations

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.record import Webhook
from panoweave.core.webhooks.targets import BadTarget, TargetRules
from panoweave.service.dependencies import Context
from panoweave.service.schemas import WebhookRequest


def validate_webhook(
    context: Context, tenant: str, request: WebhookRequest | None
) -> Webhook | None:
    """Raises InvalidParams if the target is never allowed, or if there is no secret to sign with.

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
    return Webhook(url=request.url, events=tuple(request.events))
