"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from prometheus_client.exposition import choose_encoder

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.settings import Settings
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import (
    CredentialsDep,
    find_key,
    may_be_anonymous,
    require_scope,
)
from panoweave.service.http.errors import JobStoreUnavailable, ServiceError
from panoweave.service.openapi.document import answer, refusals

router = APIRouter(tags=["health"])


AcceptHeader = Annotated[str, Header(description="The text format that is wanted.")]

_EXAMPLES: Final = {
    "queued": {
        "value": "# HELP panoweave_jobs_queued Panoramas that wait.\n"
        "# TYPE panoweave_jobs_queued gauge\npanoweave_jobs_queued 3.0\n"
    }
}
_OPENMETRICS_EXAMPLES: Final = {"queued": {"value": f"{_EXAMPLES['queued']['value']}# EOF\n"}}


class AllowedScrapers:
    """The callers that were allowed when Redis last answered.

    While Redis is away no key can be checked. They may still read the metrics then, which say
    that Redis is away. Tokens are kept as digests.
    """

    def __init__(self, settings: Settings) -> None:
        anonymous = {_digest("")}
        self._digests = anonymous if may_be_anonymous(settings) else set()

    def add(self, token: str) -> None:
        self._digests.add(_digest(token))

    def discard(self, token: str) -> None:
        self._digests.discard(_digest(token))

    def __contains__(self, token: str) -> bool:
        return _digest(token) in self._digests


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _require_scraper(request: Request, context: ContextDep, credentials: CredentialsDep) -> None:
    allowed: AllowedScrapers = request.app.state.allowed_scrapers
    token = credentials.credentials if credentials else ""
    try:
        key = find_key(context, credentials)
        if key is not None:
            require_scope(key, "admin")
    except StoreUnavailable:
        if token not in allowed:
            raise
    except ServiceError:
        allowed.discard(token)
        raise
    else:
        allowed.add(token)


@router.get(
    "/metrics",
    dependencies=[Depends(_require_scraper)],
    response_class=Response,
    responses={
        200: answer("Prometheus's text format, or OpenMetrics, which has exemplars.")
        | {
            "content": {
                "text/plain": {"schema": {"type": "string"}, "examples": _EXAMPLES},
                "application/openmetrics-text": {
                    "schema": {"type": "string"},
                    "examples": _OPENMETRICS_EXAMPLES,
                },
            }
        },
        **refusals(JobStoreUnavailable),
    },
)
def get_metrics(request: Request, accept: AcceptHeader = "") -> Response:
    """Metrics for operators: needs a key of scope `admin`. While Redis is away, callers that were
    allowed before can still read them, and see that it is away."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(request.app.state.registry), media_type=media_type)
