"""The spans of a panorama, as children of its request's span. Without the extra `opentelemetry`
there are none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from panoweave.core.jobs.record import JobRecord

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    trace = None  # type: ignore[assignment]


@contextmanager
def panorama_span(record: JobRecord) -> Iterator[None]:
    """The span of one attempt. It never holds the prompt."""
    if trace is None:
        yield
        return
    parent = record.trace.traceparent if record.trace else None
    carrier = {"traceparent": parent} if parent else {}
    params = record.params
    with trace.get_tracer(__name__).start_as_current_span(
        "panorama",
        context=TraceContextTextMapPropagator().extract(carrier),
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "panoweave.job.id": record.id,
            "panoweave.job.attempt": record.attempts,
            "panoweave.tenant": record.tenant,
            "panoweave.preset": params.preset,
            "panoweave.width": params.width,
            "panoweave.height": params.height,
            "panoweave.steps": params.steps,
        },
    ):
        yield


@contextmanager
def span(name: str) -> Iterator[None]:
    if trace is None:
        yield
        return
    with trace.get_tracer(__name__).start_as_current_span(name):
        yield


def add_stages(timings_s: Mapping[str, float]) -> None:
    """Add spans of stages that have just ended one after the other, from their durations."""
    if trace is None:
        return
    began_ns = time.time_ns() - round(sum(timings_s.values()) * 1e9)
    for stage, seconds in timings_s.items():
        ended_ns = began_ns + round(seconds * 1e9)
        trace.get_tracer(__name__).start_span(stage, start_time=began_ns).end(ended_ns)
        began_ns = ended_ns
