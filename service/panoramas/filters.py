"""The query parameters of a list of panoramas: its pages, and which panoramas are on them."""

from __future__ import annotations

import re
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Query
from pydantic import AwareDatetime, BeforeValidator

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.listing import Filter
from panoweave.core.jobs.record import BATCH_ID_PATTERN, JOB_ID_PATTERN, Status

_MAX_ITEMS: Final = 100
_MAX_VALUES: Final = 5
_MAX_VALUE_CHARS: Final = 300

_TIMES: Final = ["2026-11-26T11:02:26.903Z"]
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _refuse_numbers(text: str) -> str:
    """pydantic takes seconds since 1970 too, and a date alone."""
    if not _RFC_3339.fullmatch(text):
        raise ValueError("is no time of RFC 3339")
    return text


class Paging(NamedTuple):
    limit: int
    cursor: str | None
    is_counted: bool


def _paging(
    limit: Annotated[
        int, Query(ge=1, le=_MAX_ITEMS, description="The most items a page has.")
    ] = 20,
    cursor: Annotated[
        str | None, Query(pattern=JOB_ID_PATTERN, description="`next_cursor` of the page before.")
    ] = None,
    total: Annotated[
        bool, Query(description="Whether to count how many there are on all pages: `total`.")
    ] = False,
) -> Paging:
    return Paging(limit, cursor, is_counted=total)


PagingDep = Annotated[Paging, Depends(_paging)]

Time = Annotated[AwareDatetime, BeforeValidator(_refuse_numbers)]


def _filter(
    status: Annotated[
        list[Status] | None,
        Query(
            max_length=len(Status), description="Only panoramas in this status. May be repeated."
        ),
    ] = None,
    created_after: Annotated[
        Time | None,
        Query(description="Only panoramas that were accepted after this time.", examples=_TIMES),
    ] = None,
    created_before: Annotated[
        Time | None,
        Query(description="Only panoramas that were accepted before this time.", examples=_TIMES),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        Query(
            max_length=_MAX_VALUES,
            description="`name:value`, such as `order:7`: only panoramas whose metadata has this "
            "value. Text stands as it is, any other value as JSON. May be repeated: all must fit.",
        ),
    ] = None,
    batch_id: Annotated[
        str | None,
        Query(pattern=BATCH_ID_PATTERN, description="Only panoramas of this batch."),
    ] = None,
) -> Filter:
    return Filter(
        statuses=frozenset(status or ()),
        created_after=created_after,
        created_before=created_before,
        metadata=dict(_name_and_value(text) for text in metadata or ()),
        batch_id=batch_id,
    )


FilterDep = Annotated[Filter, Depends(_filter)]


def _name_and_value(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name or not colon or len(text) > _MAX_VALUE_CHARS:
        legal = f"name:value, such as order:7, of up to {_MAX_VALUE_CHARS} characters"
        raise InvalidParams("metadata", "has no name and value, or is too long", legal)
    return name, value
