"""What a job is called in the logs and traces of those who asked for it: it takes that along."""

from __future__ import annotations

import re
from typing import Annotated

from asgi_correlation_id import correlation_id
from fastapi import Depends, Header
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from panoweave.core.jobs.record import Trace

# W3C Trace Context; neither id may be all zeros.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


async def _trace(
    traceparent: Annotated[
        str | None,
        Header(
            description="W3C Trace Context: the panorama becomes a part of that trace. One that is "
            "malformed is ignored."
        ),
    ] = None,
) -> Trace:
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = None
    return Trace(request_id=correlation_id.get() or "", traceparent=_of_own_span() or traceparent)


def _of_own_span() -> str | None:
    """Where this request has a span itself, that is what the job's span hangs on."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


TraceDep = Annotated[Trace, Depends(_trace)]
