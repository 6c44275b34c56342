"""The published contract against the service: schemathesis, with all of its checks."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.openapi.examples import JOB_ID
from tests.jobs.samples import TRAITS
from tests.service.documentation import documented
from tests.service.server import serving
from tests.service.steps import finish

ROOT = Path(__file__).parents[2]
TENANT = "ada"
# Of the requests that schemathesis.toml asks for. With 100, as `make test-all` sets it, this is
# exactly what docs/how-to/clients.md describes.
_PERCENT = int(os.environ.get("CONTRACT_PERCENT", "40"))
_LIMIT_S = 240  # it takes one minute alone, and four times as long on a busy machine


class Walk(NamedTuple):
    """What schemathesis did in one of its phases."""

    operations: set[str]
    statuses: dict[str, set[int]]  # by operation
    links: set[tuple[str, str]]  # from an operation's answer to a request of another


def scaled(config: str, percent: int) -> str:
    """schemathesis.toml with a share of its examples."""

    def scale(count: re.Match[str]) -> str:
        return f"{count[1]}{math.ceil(int(count[2]) * percent / 100)}"

    return re.sub(r"^(max-examples = )(\d+)$", scale, config, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[httpx.Client]:
    """Alone on a fast machine, more requests are sent in a minute than a tenant may send."""
    with serving(settings.model_copy(update={"tenant_writes_per_minute": 100_000})) as client:
        yield client


@pytest.fixture
def token(api: httpx.Client, redis: Redis) -> str:  # noqa: ARG001
    """An operator's API key: with keys, that one is needed is put to the test as well. And what
    webhooks are signed with."""
    WebhookSecrets(redis).create(TENANT)
    return ApiKeys(redis).create(TENANT, ("admin",))[1]


@pytest.fixture
def _a_finished_panorama(store: JobStore, objects: ObjectStore, token: str) -> None:  # noqa: ARG001
    """That of the contract's examples, so that they meet one."""
    params = PanoramaParams(prompt="a mountain lake at dawn").resolve(TRAITS)
    store.create(JobRecord.new(params, "embedded", TENANT, {"order": 7}, job_id=JOB_ID))
    finish(store, objects, JOB_ID)


@pytest.mark.usefixtures("_a_finished_panorama")
def test_the_service_keeps_its_contract(api: httpx.Client, token: str, tmp_path: Path) -> None:
    """Checked as docs/how-to/clients.md says; and the checks reached what they are there for."""
    report = tmp_path / "report.ndjson"
    command = documented("sh", "schemathesis run").replace("$TOKEN", token)
    _, *arguments = shlex.split(command.replace("http://127.0.0.1:8000", str(api.base_url)))
    config = tmp_path / "schemathesis.toml"
    config.write_text(scaled((ROOT / "schemathesis.toml").read_text(), _PERCENT))
    reported = ("--no-color", "--report-ndjson-path", str(report))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(config),
            *arguments,
            *reported,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    walks = read(report)
    published = {
        f"{method.upper()} {path}"
        for path, operations in api.get("/openapi.json").json()["paths"].items()
        for method in operations
    }
    for phase in ("coverage", "fuzzing"):
        assert walks[phase].operations >= published
    assert 307 in walks["examples"].statuses["GET /panoramas/{job_id}/image"]
    walked = walks["stateful"]
    assert walked.statuses["DELETE /panoramas/{job_id}"] >= {204, 409}
    links = {
        ("POST /panoramas", "GET /panoramas/{job_id}"),
        ("POST /panoramas", "POST /panoramas/{job_id}/cancel"),
    }
    # A short walk need not take both: which one it misses changes with the document.
    assert links <= walked.links if _PERCENT == 100 else links & walked.links


def test_its_links_lead_through_a_panoramas_life(api: httpx.Client) -> None:
    """Each request is made of nothing but what the answer before it links to."""
    operations = {
        described["operationId"]: (method, path, described["responses"])
        for path, methods in api.get("/openapi.json").json()["paths"].items()
        for method, described in methods.items()
    }
    answer = api.post("/panoramas", json={"prompt": "a hill"})
    _, _, responses = operations["create_panorama"]
    known = {"$response.body#/id": answer.json()["id"]}
    known["$request.path.job_id"] = known["$response.body#/id"]
    for name, status in (
        ("get_panorama", 200),
        ("cancel_panorama", 200),
        ("delete_panorama", 204),
        ("get_panorama", 404),
    ):
        link = responses[str(answer.status_code)]["links"][name]
        arguments = {parameter: known[source] for parameter, source in link["parameters"].items()}
        method, path, responses = operations[link["operationId"]]
        answer = api.request(method, path.format(**arguments))
        assert answer.status_code == status


def read(report: Path) -> dict[str, Walk]:
    walks: defaultdict[str, Walk] = defaultdict(lambda: Walk(set(), defaultdict(set), set()))
    for line in report.read_text().splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario:
            _note(walks[scenario["phase"]], scenario["recorder"])
    return walks


def _note(walk: Walk, recorder: dict[str, Any]) -> None:
    cases = recorder.get("cases", {})
    operations = {
        id_: f"{case['value']['method']} {case['value']['path']}" for id_, case in cases.items()
    }
    for id_, operation in operations.items():
        walk.operations.add(operation)
        response = recorder["interactions"].get(id_, {}).get("response")
        if response:
            walk.statuses[operation].add(response["status_code"])
        if cases[id_]["is_transition_applied"]:
            walk.links.add((operations[cases[id_]["parent_id"]], operation))
