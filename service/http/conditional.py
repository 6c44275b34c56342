"""Conditional requests with strong ETags (RFC 9110), and `Prefer: wait` (RFC 7240)."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

from fastapi import Header, Response

MAX_WAIT_S: Final = 60

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=[,;]|$)", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?("[^"]*")')

IfNoneMatch = Annotated[
    str | None,
    Header(
        description="An `ETag` from an earlier answer: 304 if the panorama has not changed.",
        examples=['"0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"'],
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=N`: answer once the panorama has ended or, with `If-None-Match`, once "
        f"it has changed. At the latest after N seconds, and after {MAX_WAIT_S} at most.",
        examples=["wait=10"],
    ),
]
PreferOnCreate = Annotated[
    str | None,
    Header(
        description="`wait=N`: answer once the panorama has ended, with 200. At the latest after N "
        f"seconds, and after {MAX_WAIT_S} at most, with 202.",
        examples=["wait=10"],
    ),
]


def etag(body: bytes) -> str:
    """A strong ETag: equal only for equal bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def wait_s(prefer: str | None) -> int | None:
    """How long to wait at most; None if the client did not ask. Other preferences are ignored."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), MAX_WAIT_S) if found else None


def answer(body: bytes, headers: dict[str, str], if_none_match: str | None) -> Response:
    """200 with the body, or 304 if the client already has it."""
    tag = etag(body)
    headers = {**headers, "ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Prefer"}
    if matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
