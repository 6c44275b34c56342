"""What Prometheus scrapes."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from prometheus_client.exposition import choose_encoder

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.service.dependencies import InContext
from panoweave.service.http.auth import InCredentials, find_key, is_loopback, require
from panoweave.service.http.errors import RedisAway, ServiceError
from panoweave.service.openapi.document import answer, refusals

router = APIRouter(tags=["health"])


Accept = Annotated[str, Header(description="Which of the text formats is wanted.")]

_EXAMPLES: Final = {
    "queued": {
        "value": "# HELP panoweave_jobs_queued Panoramas that wait.\n"
        "# TYPE panoweave_jobs_queued gauge\npanoweave_jobs_queued 3.0\n"
    }
}


class Scrapers:
    """Who was let in the last time that Redis could tell: they see, too, that it is away."""

    def __init__(self, host: str) -> None:
        nobody_in_particular = {_digest("")}  # on loopback, as long as no key is known of
        self._let_in = nobody_in_particular if is_loopback(host) else set()

    def note(self, token: str, *, may: bool) -> None:
        (self._let_in.add if may else self._let_in.discard)(_digest(token))

    def had(self, token: str) -> bool:
        return _digest(token) in self._let_in


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _scraper(request: Request, context: InContext, credentials: InCredentials) -> None:
    scrapers: Scrapers = request.app.state.scrapers
    token = credentials.credentials if credentials else ""
    try:
        key = find_key(context, credentials)
        if key is not None:
            require(key, "admin")
    except StoreUnavailable:
        if not scrapers.had(token):
            raise
    except ServiceError:
        scrapers.note(token, may=False)
        raise
    else:
        scrapers.note(token, may=True)


@router.get(
    "/metrics",
    dependencies=[Depends(_scraper)],
    response_class=Response,
    responses={
        200: answer("Prometheus's text format.")
        | {"content": {"text/plain": {"schema": {"type": "string"}, "examples": _EXAMPLES}}},
        **refusals(RedisAway),
    },
)
def get_metrics(request: Request, accept: Accept = "") -> Response:
    """For operators, with a key of scope `admin`. While Redis is away, whoever could read it
    before still can: it says so."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(request.app.state.registry), media_type=media_type)
