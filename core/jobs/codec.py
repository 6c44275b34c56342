"""A record in its Redis hash: scalars as text, times as milliseconds, everything else as JSON.

How a field is stored follows from its type, so a new field needs no change here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from panoweave.core.jobs.record import JobRecord

_SCALARS: Final = (str, int, float)  # bool is an int


def to_fields(record: JobRecord) -> dict[str, str]:
    dumped = record.model_dump(mode="json", by_alias=True)
    fields: dict[str, str] = {}
    for name, field in type(record).model_fields.items():
        key = field.alias or name
        value = dumped[key]
        if value is None:
            continue  # no field in the hash
        kind = _type_of(field.annotation)
        if kind is datetime:
            fields[key] = str(round(getattr(record, name).timestamp() * 1_000))
        elif kind in _SCALARS:
            # Lua reads a boolean as "0" or "1".
            fields[key] = str(int(value)) if isinstance(value, bool) else str(value)
        else:
            fields[key] = json.dumps(value, ensure_ascii=False)
    return fields


def from_fields(fields: Mapping[bytes, bytes], kind: type[JobRecord] = JobRecord) -> JobRecord:
    kinds = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    values: dict[str, object] = {}
    for raw_name, raw in fields.items():
        name, text = raw_name.decode(), raw.decode()
        if name not in kinds:
            continue  # of the Lua scripts alone, or of another version
        match _type_of(kinds[name]):
            case value_type if value_type is datetime:
                values[name] = datetime.fromtimestamp(int(text) / 1_000, UTC)
            case value_type if value_type in _SCALARS:
                if text:  # an emptied token is no token
                    values[name] = text
            case _:
                values[name] = json.loads(text)
    return kind.model_validate(values)


def _type_of(annotation: Any) -> type | None:
    """`datetime` or a scalar's type, optional or not; None for what is stored as JSON."""
    is_union = isinstance(annotation, UnionType) or get_origin(annotation) is Union
    options = set(get_args(annotation) if is_union else (annotation,)) - {NoneType}
    only = options.pop() if len(options) == 1 else None
    if not isinstance(only, type):
        return None
    return next((known for known in (datetime, *_SCALARS) if issubclass(only, known)), None)
