"""What an operator sees of API, worker and janitor while one panorama is made: logs and probes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.deploy.local.ports import free_port
from tests.processes import process, wait_until

PROMPT = "a lighthouse nobody may read of"
NEGATIVE_PROMPT = "fog that stays private"
SWEPT = "panoweave_janitor_last_sweep_timestamp_seconds 1."
QUERY = "query-that-stays-private"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PARTS = ("api", "worker", "janitor")


@dataclass
class Seen:
    """What was there to be seen."""

    settings: Settings
    job: Any
    token: str
    logs: dict[str, str]
    metrics: dict[str, str]
    ready: dict[str, httpx.Response]
    loading: httpx.Response

    def lines(self, part: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logs[part].splitlines()]


@pytest.fixture(scope="module")
def seen(
    settings: Settings, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    folder = tmp_path_factory.mktemp("operations")
    logs = {part: folder / part for part in PARTS}
    ports = {part: free_port() for part in PARTS}
    here = settings.model_copy(
        update={
            "model": str(tiny_checkpoint),
            "device": "cpu",
            "port": ports["api"],
            "janitor_interval_s": 0.2,
            "log_level": "DEBUG",  # what must not be said at INFO is not said at all
        }
    )
    with connect(here) as redis, ExitStack() as running, httpx.Client(timeout=10) as http:
        redis.flushall()
        _, token = ApiKeys(redis).create("ada", ("admin",))
        for part in PARTS:
            own = here.model_copy(update={"metrics_port": ports[part]})
            running.enter_context(process(part, own, logs[part]))

        def get(part: str, path: str) -> httpx.Response | None:
            try:
                return http.get(
                    f"http://127.0.0.1:{ports[part]}{path}",
                    headers={"Authorization": f"Bearer {token}"},
                )
            except httpx.TransportError:
                return None

        def ready(part: str) -> bool:
            answer = get(part, "/readyz")
            return answer is not None and answer.status_code == 200

        wait_until(lambda: get("worker", "/readyz") is not None, 60, logs["worker"])
        loading = get("worker", "/readyz")
        for part in PARTS:
            wait_until(lambda part=part: ready(part), 60, logs[part])  # type: ignore[misc]
        job = http.post(
            f"http://127.0.0.1:{ports['api']}/panoramas",
            json={
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE_PROMPT,
                "width": 128,
                "steps": 4,
                "seed": 3,
            },
            headers={
                "Authorization": f"Bearer {token}",
                "X-Request-ID": "order-7",
                "traceparent": TRACEPARENT,
            },
        ).json()
        path = f"/panoramas/{job['id']}"
        refused = get("api", f"{path}?of={QUERY}")
        assert refused is not None
        assert refused.status_code == 422

        def ended() -> bool:
            answer = get("api", path)
            return answer is not None and answer.json()["status"] == "succeeded"

        def has_swept() -> bool:
            answer = get("janitor", "/metrics")
            return answer is not None and SWEPT in answer.text

        wait_until(ended, 60, logs["worker"])
        wait_until(has_swept, 30, logs["janitor"])
        wait_until(lambda: f"{job['id']}: succeeded" in logs["worker"].read_text(), 30)
        answers = {part: (get(part, "/metrics"), get(part, "/readyz")) for part in PARTS}
        assert models.live_workers(redis)
    assert loading is not None
    return Seen(
        here,
        job,
        token,
        {part: log.read_text() for part, log in logs.items()},
        {part: found[0].text for part, found in answers.items() if found[0]},
        {part: found[1] for part, found in answers.items() if found[1]},
        loading,
    )


@pytest.mark.parametrize("part", PARTS)
def test_every_line_is_a_json_object(seen: Seen, part: str) -> None:
    lines = seen.lines(part)
    assert lines
    for line in lines:
        assert {"timestamp", "level", "logger", "event"} <= set(line)
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None


@pytest.mark.parametrize("part", PARTS)
def test_no_prompt_and_no_secret_is_in_any_log(seen: Seen, part: str) -> None:
    here = seen.settings
    assert here.s3_secret_access_key is not None
    for secret in (
        PROMPT,
        NEGATIVE_PROMPT,
        QUERY,
        seen.token,
        seen.token[-43:],
        here.s3_secret_access_key.get_secret_value(),
        "X-Amz-Signature",
        "Bearer",
    ):
        assert secret not in seen.logs[part]
    assert "lighthouse" not in seen.logs[part]


def test_one_request_is_followed_through_all_processes(seen: Seen) -> None:
    of_api = [line for line in seen.lines("api") if line.get("request_id") == "order-7"]
    assert {line["tenant"] for line in of_api} == {"ada"}
    (access,) = [line for line in of_api if line["logger"] == "panoweave.service.http.access_log"]
    assert (access["method"], access["route"], access["status"]) == ("POST", "/panoramas", 202)
    assert 0 < access["duration_s"] < 30
    assert any(line.get("job_id") == seen.job["id"] for line in of_api)

    of_worker = [line for line in seen.lines("worker") if line.get("request_id") == "order-7"]
    assert len(of_worker) >= 2
    for line in of_worker:
        assert (line["job_id"], line["tenant"]) == (seen.job["id"], "ada")
    assert any(line["logger"] == "rq.worker" for line in seen.lines("worker"))


def test_the_worker_says_how_far_its_setup_is(seen: Seen) -> None:
    assert seen.loading.status_code == 503
    assert seen.loading.json() == {"status": "loading", "detail": ""}
    assert seen.ready["worker"].json() == {"status": "ready", "detail": ""}
    assert seen.ready["janitor"].json()["status"] == "ready"


def test_each_process_shows_what_it_did(seen: Seen) -> None:
    worker, janitor, api = (seen.metrics[part] for part in ("worker", "janitor", "api"))
    assert "panoweave_wait_seconds_count 1.0" in worker
    assert 'panoweave_run_seconds_count{preset="balanced",status="succeeded"} 1.0' in worker
    assert "panoweave_step_seconds_count 3.0" in worker  # between four steps
    assert "panoweave_upload_seconds_count 1.0" in worker
    assert "panoweave_worker_busy 0.0" in worker
    assert SWEPT in janitor
    assert "panoweave_wait_seconds" not in janitor
    assert 'panoweave_jobs_ended_total{code="",status="succeeded"} 1.0' in api
    for text in (worker, janitor, api):
        assert "process_resident_memory_bytes" in text
