"""Exemplars: each bucket of a histogram names the trace of one of its observations.

A slow observation in Grafana leads to its trace. Without tracing there are no exemplars.
"""

from __future__ import annotations

try:
    from opentelemetry import trace
except ModuleNotFoundError:
    trace = None  # type: ignore[assignment]


def current_exemplar() -> dict[str, str] | None:
    """Of the span in which this is called, if this process exports it."""
    if trace is None:
        return None
    span = trace.get_current_span()
    # Not sampled, none at all, or the caller's while this process does not trace.
    if isinstance(span, trace.NonRecordingSpan):
        return None
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
