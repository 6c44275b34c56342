"""Answers with a finished picture: a redirect to S3, or the file itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from panoweave.core.infra.s3 import ObjectStore
from panoweave.service.openapi.document import answer as described
from panoweave.service.openapi.response_headers import CACHE_CONTROL

Redirect = Annotated[
    bool,
    Query(
        description="Whether to redirect to the object store. With `false`, the API sends the file "
        "itself, for clients that cannot reach the object store."
    ),
]


def answer(objects: ObjectStore, key: str, filename: str, redirect: bool) -> Response:
    """Raises ObjectStoreError."""
    if redirect:
        url = objects.presign(key, filename)
        return RedirectResponse(url, headers={"Cache-Control": "no-store"})
    file = objects.open(key)
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="{filename}"',
        "Content-Length": str(file.size),
    }
    return StreamingResponse(file.parts, media_type=file.media_type, headers=headers)


def picture_answer(what: str, *media_types: str) -> dict[str, Any]:
    """The entry of a route's `responses` for the file itself.

    It declares no content: client generators refuse an operation that may answer with a picture.
    """
    types = " or ".join(f"`{each}`" for each in media_types)
    return described(f"With `redirect=false`: {what}, as {types}.", always=(CACHE_CONTROL,))
