"""Each request has an id that its answer, its lines in the log and its job share."""

from __future__ import annotations

import logging
import re

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.jobs.codec import from_fields, to_fields
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("sane", ["7", "order-7.retry_1", "a" * 128])
def test_a_sane_id_is_kept(bare_api: httpx.Client, sane: str) -> None:
    answer = bare_api.get("/livez", headers={"X-Request-ID": sane})
    assert answer.headers.get_list("x-request-id") == [sane]


@pytest.mark.parametrize("insane", ["", "a b", 'x"y', "{}", "a" * 129, "\u00e9"])
def test_another_is_replaced(bare_api: httpx.Client, insane: str) -> None:
    answer = bare_api.get("/livez", headers=[(b"X-Request-ID", insane.encode())])
    (given,) = answer.headers.get_list("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", given)


def test_refusals_have_one_too(bare_api: httpx.Client) -> None:
    for answer in (
        bare_api.get("/nowhere"),
        bare_api.post("/panoramas", content=b"{"),
        bare_api.get("/panoramas?limit=0"),
    ):
        assert len(answer.headers.get_list("x-request-id")) == 1


def test_a_fault_of_ours_has_one_too(bare_api: httpx.Client, redis: Redis) -> None:
    redis.delete(redis_keys.MODELS)
    redis.set(redis_keys.MODELS, "of another type")
    # uvicorn closes the connection after it, so it must not be used again.
    headers = {"X-Request-ID": "order-7", "Connection": "close"}
    answer = bare_api.get("/models", headers=headers)
    assert answer.status_code == 500
    assert answer.headers.get_list("x-request-id") == ["order-7"]


def test_a_job_takes_its_names_along(api: httpx.Client, store: JobStore) -> None:
    headers = {"X-Request-ID": "order-7", "traceparent": TRACEPARENT}
    job = api.post("/panoramas", json={"prompt": "a hill"}, headers=headers).json()
    assert "trace" not in job
    trace = store.get(job["id"]).trace
    assert trace is not None
    assert (trace.request_id, trace.traceparent) == ("order-7", TRACEPARENT)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "x",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored(
    api: httpx.Client, store: JobStore, malformed: str
) -> None:
    answer = api.post("/panoramas", json={"prompt": "a hill"}, headers={"traceparent": malformed})
    assert answer.status_code == 202
    trace = store.get(answer.json()["id"]).trace
    assert trace is not None
    assert trace.traceparent is None


def test_a_record_of_an_earlier_version_has_none() -> None:
    fields = {name.encode(): text.encode() for name, text in to_fields(new_record()).items()}
    assert b"trace" not in fields
    assert from_fields(fields).trace is None


def test_the_log_names_the_route_and_nothing_that_the_client_wrote(
    api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        api.get("/panoramas?limit=3&cursor=secret-query")
        api.get("/panoramas/secret-path")
        api.get("/livez")
    lines = [
        record for record in caplog.records if record.name == "panoweave.service.http.access_log"
    ]
    assert [(line.method, line.route, line.status) for line in lines] == [  # type: ignore[attr-defined]
        ("GET", "/panoramas", 422),
        ("GET", "/panoramas/{job_id}", 404),
    ]
    assert all(0 < line.duration_s < 30 for line in lines)  # type: ignore[attr-defined]
    # pytest listens to uvicorn.access also where it is switched off: see tests/deploy.
    theirs = ("httpx", "uvicorn.access")
    said = [record.getMessage() for record in caplog.records if record.name not in theirs]
    assert "secret" not in " ".join(said)
