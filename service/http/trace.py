"""The request id and the trace context that a job keeps from the request that created it."""

from __future__ import annotations

import re
from typing import Annotated

from asgi_correlation_id import correlation_id
from fastapi import Depends, Header
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from panoweave.core.jobs.record import Trace

# W3C Trace Context: version, trace id, parent id, flags. Neither id may be all zeros.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


async def _trace(
    traceparent: Annotated[
        str | None,
        Header(
            description="W3C Trace Context: the panorama becomes part of this trace. A malformed "
            "value is ignored."
        ),
    ] = None,
) -> Trace:
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = None
    return Trace(request_id=correlation_id.get() or "", traceparent=_own_span() or traceparent)


def _own_span() -> str | None:
    """The span of this request, if tracing is on. It is then the parent of the job's span."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


TraceDep = Annotated[Trace, Depends(_trace)]
