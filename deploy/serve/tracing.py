"""Traces by OpenTelemetry.

OpenTelemetry's own variables switch them on (OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER),
and the SDK reads the others (OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, ...). panoweave has no
setting for them.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Final

from panoweave.deploy.errors import BadOption

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# The specification says `otlp`; Python has a package for each protocol, and this is the default.
_OTLP: Final = "otlp_proto_http"


def start_tracing(service: str) -> None:
    """Start tracing if the variables ask for it. Call it before anything that is traced.

    Raises BadOption if they ask for an exporter that is not installed.
    """
    name = _exporter_name()
    if name is None:
        return
    remedy = 'pip install "panoweave[opentelemetry]"'
    try:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise BadOption(f"OTEL_* asks for traces, which need {error.name}", remedy) from error
    exporters = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not exporters:
        raise BadOption(f"OTEL_* asks for the exporter {name}, which is not installed", remedy)
    os.environ.setdefault("OTEL_SERVICE_NAME", service)

    class WithoutQuery(SpanProcessor):
        """FastAPI traces the query string, which may hold a token."""

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
            if "url.query" in (span.attributes or {}):
                span.set_attribute("url.query", "REDACTED")

    provider = TracerProvider()
    provider.add_span_processor(WithoutQuery())
    provider.add_span_processor(BatchSpanProcessor(next(iter(exporters)).load()()))
    trace.set_tracer_provider(provider)


def _exporter_name() -> str | None:
    named = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if not named and any(os.environ.get(name) for name in _ENDPOINTS):
        named = "otlp"
    return {"": None, "none": None, "otlp": _OTLP}.get(named, named)
