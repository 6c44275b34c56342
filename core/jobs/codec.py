"""A record's shape in its Redis hash: scalars as text, times as milliseconds, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from panoweave.core.jobs.record import JobRecord

_TIMES = ("created_at", "started_at", "finished_at")
_JSON = ("params", "progress", "result", "error", "metadata", "webhook", "trace")


def to_fields(record: JobRecord) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in record.model_dump(mode="json").items():
        if value is None:
            continue  # no field in the hash
        if name in _TIMES:
            fields[name] = str(round(getattr(record, name).timestamp() * 1_000))
        elif name in _JSON:
            fields[name] = json.dumps(value, ensure_ascii=False)
        else:
            # Lua has no booleans in a hash: "0" and "1".
            fields[name] = str(int(value)) if isinstance(value, bool) else str(value)
    return fields


def from_fields(fields: Mapping[bytes, bytes]) -> JobRecord:
    values: dict[str, object] = {}
    for raw_name, raw in fields.items():
        name, text = raw_name.decode(), raw.decode()
        if name in _TIMES:
            values[name] = datetime.fromtimestamp(int(text) / 1_000, UTC)
        elif name in _JSON:
            values[name] = json.loads(text)
        elif text:  # an emptied token is no token
            values[name] = text
    return JobRecord.model_validate(values)
