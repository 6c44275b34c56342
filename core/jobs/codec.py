"""A record in its Redis hash: scalars as text, times as milliseconds, everything else as JSON.

How a field is stored follows from its type, so a new field needs no change here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import ValidationError

from panoweave.core.infra.stored import EXACT
from panoweave.core.jobs.errors import UnreadableRecord
from panoweave.core.jobs.record import JobRecord

log = logging.getLogger(__name__)

_SCALARS: Final = (str, int, float)  # bool is an int


def to_fields(record: JobRecord) -> dict[str, str]:
    dumped = record.model_dump(mode="json", by_alias=True)
    fields: dict[str, str] = {}
    for name, field in type(record).model_fields.items():
        key = field.alias or name
        value = dumped.get(key)  # a field may be left out when it is None
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


def from_fields(
    fields: Mapping[bytes, bytes], kind: type[JobRecord] = JobRecord, *, exact: bool = False
) -> JobRecord:
    """The record, as far as this version can read it: see core/infra/stored.py.

    `exact`: it has to understand the parameters. Raises UnreadableRecord.
    """
    try:
        return _read(_values(fields, kind), kind, exact=exact)
    except ValueError as error:  # pydantic's and json's too
        raise UnreadableRecord(fields.get(b"id", b"?").decode()) from error


def from_json(text: bytes) -> JobRecord:
    """The record of a metadata.json in S3. Raises UnreadableRecord."""
    try:
        stored = json.loads(text)
        if not isinstance(stored, dict):
            raise ValueError("is no object")
        return _read(stored, JobRecord, exact=False)
    except ValueError as error:
        raise UnreadableRecord("?") from error


def _read(values: dict[str, object], kind: type[JobRecord], *, exact: bool) -> JobRecord:
    context = EXACT if exact else None
    try:
        return kind.model_validate(values, context=context)
    except ValidationError as error:
        optional = {
            field.alias or name
            for name, field in kind.model_fields.items()
            if not field.is_required()
        }
        # What can be absent is left out, rather than the whole record.
        unread = {each["loc"][0] for each in error.errors(include_input=False)} & optional
        if not unread:
            raise
        log.warning("%s: not read: %s", values.get("id"), unread)
        known = {name: value for name, value in values.items() if name not in unread}
        return kind.model_validate(known, context=context)


def _values(fields: Mapping[bytes, bytes], kind: type[JobRecord]) -> dict[str, object]:
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
    return values


def _type_of(annotation: Any) -> type | None:
    """`datetime` or a scalar's type, optional or not; None for what is stored as JSON."""
    is_union = isinstance(annotation, UnionType) or get_origin(annotation) is Union
    options = set(get_args(annotation) if is_union else (annotation,)) - {NoneType}
    only = options.pop() if len(options) == 1 else None
    if not isinstance(only, type):
        return None
    return next((known for known in (datetime, *_SCALARS) if issubclass(only, known)), None)
