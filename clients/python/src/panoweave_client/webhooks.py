"""Verifies webhooks, which are signed as Standard Webhooks specifies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from standardwebhooks import Webhook, WebhookVerificationError

from panoweave_client.answers import BatchMessage, PingMessage, WebhookMessage
from panoweave_client.errors import WebhookRefused

_KINDS: Final[dict[str, type[BatchMessage | PingMessage]]] = {
    "batch": BatchMessage,
    "webhook": PingMessage,
}


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str
) -> WebhookMessage | BatchMessage | PingMessage:
    """The message of a webhook; a BatchMessage is of type `batch.ended`, a PingMessage of type
    `webhook.ping`. Raises WebhookRefused if its signature is wrong or it is old.

    `body` is what was received, byte by byte. A message may come more than once: remember the
    header `webhook-id` and ignore those that you have seen.
    """
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:  # ValueError: not base64, not UTF-8
        raise WebhookRefused(str(error) or "the signature cannot be read") from error
    kind = _KINDS.get(json.loads(body)["type"].partition(".")[0], WebhookMessage)
    return kind.model_validate_json(body)
