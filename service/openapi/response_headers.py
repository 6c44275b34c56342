"""The headers of answers, as the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from panoweave.service.http.access_log import REQUEST_ID
from panoweave.service.http.headers import CROSS_ORIGIN, ON_EVERY_ANSWER


class ResponseHeader(NamedTuple):
    name: str
    description: str
    schema: dict[str, Any]


_TEXT: Final = {"type": "string"}
_URL: Final = {"type": "string", "format": "uri-reference"}
_SECONDS: Final = {"type": "integer", "minimum": 1}

LOCATION: Final = ResponseHeader("Location", "Where the panorama is.", _URL)
SIGNED_LOCATION: Final = ResponseHeader(
    "Location", "A presigned URL of the file, which expires.", _URL
)
RETRY_AFTER: Final = ResponseHeader(
    "Retry-After", "Seconds after which to send a request again.", _SECONDS
)
ETAG: Final = ResponseHeader(
    "ETag",
    "Identifies this version of the panorama, for `If-None-Match`.",
    {"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
)
CACHE_CONTROL: Final = ResponseHeader("Cache-Control", "Who may cache this answer.", _TEXT)
VARY: Final = ResponseHeader("Vary", "The request headers that this answer depends on.", _TEXT)
PREFERENCE_APPLIED: Final = ResponseHeader(
    "Preference-Applied",
    "`wait=N`, if the request asked to wait: the N that was applied.",
    {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
)
IDEMPOTENCY_REPLAYED: Final = ResponseHeader(
    "Idempotency-Replayed",
    "`true`: an earlier request with this `Idempotency-Key` was carried out, and this was its "
    "answer. Absent otherwise.",
    {"type": "string", "const": "true"},
)
_REFUSAL_HEADERS: Final = (
    RETRY_AFTER,
    ResponseHeader("WWW-Authenticate", "`Bearer`: send an API key.", _TEXT),
    ResponseHeader("Allow", "The methods that this path takes.", _TEXT),
    ResponseHeader("Accept", "The media type that is taken.", _TEXT),
    ResponseHeader("Accept-Encoding", "The encoding that is taken: `identity` is none.", _TEXT),
)
REFUSAL_HEADERS: Final = {header.name: header for header in _REFUSAL_HEADERS}


def described(
    always: Iterable[ResponseHeader] = (), sometimes: Iterable[ResponseHeader] = ()
) -> dict[str, dict[str, Any]]:
    """Header objects of OpenAPI, by name."""
    required = {header.name: _object(header) | {"required": True} for header in always}
    return required | {header.name: _object(header) for header in sometimes}


def on_every_answer() -> dict[str, dict[str, Any]]:
    """For `components`: the security headers for browsers, and the request's id."""
    constant = {
        name: {
            "description": "A security header for browsers. The same on every answer.",
            "required": True,
            "schema": {"type": "string", "enum": sorted({value, CROSS_ORIGIN.get(name, value)})},
        }
        for name, value in ON_EVERY_ANSWER.items()
    }
    return constant | {
        REQUEST_ID: {
            "description": "The id of this request in the logs: the one that the client sent, or a "
            "new one.",
            "required": True,
            "schema": _TEXT,
        }
    }


def rate_limits() -> dict[str, dict[str, Any]]:
    """For `components`: how many requests the tenant may send."""
    return {
        "RateLimit-Policy": {
            "description": "The limit that this request counts against: its name, q requests in w "
            "seconds.",
            "schema": _TEXT,
        },
        "RateLimit": {
            "description": "r requests may follow at once; in t seconds it is the whole limit.",
            "schema": _TEXT,
        },
    }


def _object(header: ResponseHeader) -> dict[str, Any]:
    return {"description": header.description, "schema": dict(header.schema)}
