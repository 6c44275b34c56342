"""A webhook as the service sends it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signed(body: str, at: datetime) -> dict[str, str]:
    return {
        "Webhook-Id": "whk_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("whk_1", at, body),
    }


def batch_message() -> dict[str, Any]:
    items = [{"id": "pano_1", "status": "cancelled", "error": None}]
    return {
        "type": "batch.ended",
        "timestamp": "2026-11-27T16:57:56.398Z",
        "data": {"id": "batch_1", "items": items, "metadata": {"order": 7}},
    }


def ping_message() -> dict[str, Any]:
    data = {"id": "ping_1", "tenant": "ada"}
    return {"type": "webhook.ping", "timestamp": "2026-11-27T16:57:56.398Z", "data": data}


def message() -> dict[str, Any]:
    now = "2026-11-27T16:57:56.398Z"
    times = {"created_at": now, "started_at": now, "finished_at": now}
    data = {"id": "pano_1", "attempt": 1, "model": "embedded", "status": "cancelled"}
    return {
        "type": "panorama.cancelled",
        "timestamp": now,
        "data": {**data, **times, "result": None, "error": None, "metadata": {"order": 7}},
    }
