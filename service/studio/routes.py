"""Serves the studio: `/` is its page, `/studio/...` are its scripts, styles and pictures.

These are files, the same for everyone, and need no API key. All data comes from the API's own
routes, which the page asks as any other client does.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FILES: Final = Path(__file__).parent / "static"
_PAGE: Final = _FILES / "index.html"
_INLINE_SCRIPT: Final = re.compile(r'<script type="importmap">(.*?)</script>', re.S)
# A browser asks each time whether a file has changed, so that page and API are of one version.
_CACHE: Final = "no-cache"

router = APIRouter(include_in_schema=False)


def content_policy(page: str) -> str:
    """Scripts, styles and data of this server only. The import map stands in the page, as browsers
    demand, and is allowed by its hash."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


_HEADERS: Final = {
    "Cache-Control": _CACHE,
    "Content-Security-Policy": content_policy(_PAGE.read_text()),
}


@router.get("/", response_class=FileResponse)
def get_studio() -> Response:
    # Never a 304: browsers replace the headers that they hold by its headers.
    return FileResponse(_PAGE, headers=_HEADERS)


class _StudioFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = _CACHE
        return answer


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/studio", _StudioFiles(directory=_FILES, follow_symlink=True), name="studio")
