"""A panorama is a part of its caller's trace, from the POST to the upload."""

from __future__ import annotations

import secrets
import subprocess
import sys
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.record import Status
from panoweave.deploy.serve import tracing
from panoweave.service.http import access_log
from panoweave.service.openapi.examples import JOB_ID
from panoweave.worker.job import WorkerContext, run_next_job
from panoweave.worker.telemetry.metrics import WORKER
from tests.service.server import serving

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
SPAN_ID = "00f067aa0ba902b7"
PROMPT = "a lake nobody may read of"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """As a process sets it up once; here for one test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def make_panorama(context: WorkerContext, redis: Redis, trace_id: str = TRACE_ID) -> str:
    """POST it as a client does, run what RQ then finds in its queue. The API's metrics."""
    state = ModelState(
        model="embedded",
        state="ready",
        traits=context.generator.pipeline.traits,
        perceptual="stlpips-alex",
        worker="test-worker",
    )
    models.publish(redis, state)
    body = {"prompt": PROMPT, "width": 128, "stride": 64, "steps": 2, "seed": 1}
    headers = {"traceparent": f"00-{trace_id}-{SPAN_ID}-01"}
    with serving(context.settings) as api:
        answer = api.post("/panoramas", json=body, headers=headers)
        scraped = api.get("/metrics", headers={"Accept": OPEN_METRICS})
    assert answer.status_code == 202, answer.text
    assert context.queue.tickets("embedded").count == 1
    run_next_job(context)
    assert context.store.get(answer.json()["id"]).status is Status.SUCCEEDED
    return scraped.text


def worker_metrics() -> str:
    text: bytes = generate_latest(WORKER)  # type: ignore[no-untyped-call]
    return text.decode()


def exemplars(metrics: str, trace_id: str) -> dict[str, str]:
    """The span of this trace that each histogram names."""
    return {
        family.name: sample.exemplar.labels["span_id"]
        for family in text_string_to_metric_families(metrics)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar and sample.exemplar.labels["trace_id"] == trace_id
    }


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_panorama_is_a_part_of_its_callers_trace(
    context: WorkerContext, redis: Redis, exporter: InMemorySpanExporter
) -> None:
    make_panorama(context, redis)
    spans = by_name(exporter)
    stages = ["encode", "denoise", "decode", "measure", "upload"]
    assert set(spans) == {"POST /panoramas", "panorama", *stages}
    for span in spans.values():
        assert f"{context_of(span).trace_id:032x}" == TRACE_ID
    request, panorama = spans["POST /panoramas"], spans["panorama"]
    assert f"{parent_of(request).span_id:016x}" == SPAN_ID
    assert parent_of(panorama).span_id == context_of(request).span_id
    times = [panorama.start_time]
    for stage in stages:
        assert parent_of(spans[stage]).span_id == context_of(panorama).span_id
        times += [spans[stage].start_time, spans[stage].end_time]
    times.append(panorama.end_time)
    assert times == sorted(times, key=lambda time: time or 0)
    assert PROMPT not in "".join(span.to_json() for span in spans.values())


def test_histograms_name_the_spans_that_they_measure(
    context: WorkerContext, redis: Redis, exporter: InMemorySpanExporter
) -> None:
    trace_id = secrets.token_hex(16)
    of_the_api = exemplars(make_panorama(context, redis, trace_id), trace_id)
    ids = {name: f"{context_of(span).span_id:016x}" for name, span in by_name(exporter).items()}
    assert of_the_api == {"panoweave_http_request_duration_seconds": ids["POST /panoramas"]}
    assert exemplars(worker_metrics(), trace_id) == {
        "panoweave_wait_seconds": ids["panorama"],
        "panoweave_run_seconds": ids["panorama"],
        "panoweave_step_seconds": ids["panorama"],
        "panoweave_upload_seconds": ids["upload"],
    }


def test_without_traces_histograms_name_none(context: WorkerContext, redis: Redis) -> None:
    """Not even the caller's, which has no span of this process."""
    trace_id = secrets.token_hex(16)
    assert exemplars(make_panorama(context, redis, trace_id), trace_id) == {}
    assert exemplars(worker_metrics(), trace_id) == {}


def test_no_trace_holds_a_token_of_a_url(
    settings: Settings,
    redis: Redis,  # noqa: ARG001 - emptied
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter, providers = InMemorySpanExporter(), list[TracerProvider]()
    entry_point = SimpleNamespace(load=lambda: lambda: exporter)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "panoweave-api")
    monkeypatch.setattr(tracing, "entry_points", lambda **_: [entry_point])
    monkeypatch.setattr(trace, "set_tracer_provider", providers.append)
    tracing.start_tracing("panoweave-api")
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", providers[0])
    with serving(settings) as api:
        token = api.post("/tokens").json()["token"]
        answer = api.get(f"/panoramas/{JOB_ID}/image", params={"token": token})
    assert answer.status_code == 404
    providers[0].force_flush()
    spans = by_name(exporter)
    asked = spans["GET /panoramas/{job_id}/image"]
    assert (asked.attributes or {})["url.query"] == "REDACTED"
    assert token not in "".join(span.to_json() for span in spans.values())


def test_an_api_without_a_tracer_passes_the_clients_on(
    context: WorkerContext,
    redis: Redis,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(access_log.TELEMETRY, "tracing", False)
    make_panorama(context, redis)
    assert f"{parent_of(by_name(exporter)['panorama']).span_id:016x}" == SPAN_ID


def context_of(span: ReadableSpan) -> SpanContext:
    assert isinstance(span.context, SpanContext)
    return span.context


def parent_of(span: ReadableSpan) -> SpanContext:
    assert isinstance(span.parent, SpanContext)
    return span.parent


def test_without_the_extra_nothing_is_traced_and_all_is_well() -> None:
    program = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from tests.jobs.samples import new_record\n"
        "from panoweave.worker.telemetry import tracing\n"
        "assert tracing.trace is None\n"
        "with tracing.panorama_span(new_record()), tracing.span('upload'):\n"
        "    tracing.add_stages({'denoise': 1.0})\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
