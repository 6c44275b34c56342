"""The body of a webhook: small, and never with the prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord, Result, file_name
from panoweave.core.jobs.times import format_time
from panoweave.core.webhooks.deliveries import Delivery

MAX_BYTES: Final = 20_000


def batch_payload(delivery: Delivery, records: Sequence[JobRecord]) -> bytes:
    """As `payload`, of a batch: what became of each panorama that is still there."""
    items = [
        record.model_dump(mode="json", include={"id", "status", "error"}) for record in records
    ]
    data = {"id": delivery.job_id, "items": items, "metadata": records[0].metadata}
    return _message(delivery, data)


def ping_payload(delivery: Delivery) -> bytes:
    """As `payload`, of no panorama."""
    return _message(delivery, {"id": delivery.job_id, "tenant": delivery.tenant})


def payload(delivery: Delivery, record: JobRecord, objects: ObjectStore) -> bytes:
    """JSON in UTF-8, smaller than `MAX_BYTES`. Its links are presigned for this try."""
    kind = delivery.type.removeprefix("panorama.")
    data: dict[str, Any] = {"id": record.id, "attempt": delivery.attempt, "model": record.model}
    if kind in ("started", "progress"):
        # A later try finds a record that has moved on; the body says what happened then.
        data |= {"status": "running"}
    else:
        data |= record.model_dump(mode="json", include={"status", "error"})
        data |= {"finished_at": _time(record.finished_at)}
        data |= {"result": _result(record, objects) if record.result else None}
    if kind == "progress" and record.progress:
        data |= {"progress": record.progress.model_dump(mode="json")}
    data |= {"created_at": _time(record.created_at), "started_at": _time(record.started_at)}
    data |= record.model_dump(mode="json", include={"metadata"})
    return _message(delivery, data)


def _message(delivery: Delivery, data: dict[str, Any]) -> bytes:
    timestamp = format_time(delivery.happened_at)
    message = {"type": delivery.type, "timestamp": timestamp, "data": data}
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(body) < MAX_BYTES, "panoweave.service.schemas bounds what a caller may add"
    return body


def _time(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)


def _result(record: JobRecord, objects: ObjectStore) -> dict[str, Any]:
    result: Result | None = record.result
    assert result is not None
    shown = result.model_dump(mode="json", exclude={"keys", "warnings", "timings_s", "coherence"})
    return {
        "image_url": objects.presign(result.keys.image, file_name(record.id, result.format)),
        **shown,
    }
