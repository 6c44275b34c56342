"""The published contract as a document: valid, and nothing in it left undescribed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import jsonschema_rs
import pytest
import schemathesis
from redis import Redis

from panoweave.core.embedded import WEIGHTS
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.record import DEFAULT_TENANT, JOB_ID_PATTERN, JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.core.model_files.read import read_traits
from panoweave.core.params import PanoramaParams
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.app import create_app
from panoweave.service.http.body import MAX_BODY_BYTES
from panoweave.service.http.errors import ServiceError
from panoweave.service.openapi import document, examples
from panoweave.service.openapi.refusal_examples import REFUSALS
from tests.jobs.samples import TRAITS
from tests.service.pictures import inline, png
from tests.service.server import serving

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()
PROBLEM = "application/problem+json"


class Operation(NamedTuple):
    method: str
    path: str
    described: dict[str, Any]

    @property
    def responses(self) -> dict[str, dict[str, Any]]:
        responses: dict[str, dict[str, Any]] = self.described["responses"]
        return responses


OPERATIONS = [
    Operation(method, path, described)
    for path, operations in DOCUMENT["paths"].items()
    for method, described in operations.items()
]
each_operation = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}"
)


def conforms(value: object, schema: dict[str, Any]) -> bool:
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    validator = jsonschema_rs.validator_for(
        {**whole, "components": DOCUMENT["components"]}, validate_formats=True
    )
    return validator.is_valid(value)


def examples_of(media_type: dict[str, Any]) -> dict[str, Any]:
    known = DOCUMENT["components"]["examples"]
    return {
        name: known[one["$ref"].rpartition("/")[2]]["value"] if "$ref" in one else one["value"]
        for name, one in media_type.get("examples", {}).items()
    }


def subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_it_is_valid() -> None:
    contract = schemathesis.openapi.from_dict(DOCUMENT)
    assert contract.specification.version.startswith("3.1")
    contract.validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        )
    assert "servers" not in DOCUMENT  # it is wherever the document was found


def test_a_generated_client_has_good_names() -> None:
    names = [operation.described["operationId"] for operation in OPERATIONS]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name), name


@each_operation
def test_what_it_does_and_takes_is_described(operation: Operation) -> None:
    described = operation.described
    assert described["summary"]
    assert described["description"]
    assert set(described["tags"]) <= {tag["name"] for tag in document.TAGS}
    for parameter in described.get("parameters", []):
        assert parameter["description"], parameter["name"]
        for example in parameter["schema"].get("examples", []):
            assert conforms(example, parameter["schema"])
    for schema in described.get("requestBody", {}).get("content", {}).values():
        shown = examples_of(schema)
        assert len(shown) > 1
        for name, example in shown.items():
            assert conforms(example, schema["schema"]), name


@each_operation
def test_its_answers_are_described_and_shown(operation: Operation) -> None:
    for status, response in operation.responses.items():
        assert response["description"] not in ("", "Successful Response")
        for header in response.get("headers", {}).values():
            assert "$ref" in header or header["description"]
        for kind, media_type in response.get("content", {}).items():
            is_openai = operation.path.startswith("/v1/")  # whose errors have another shape
            assert (kind == PROBLEM) is (status >= "400" and not is_openai)
            shown = examples_of(media_type)
            assert shown, (status, kind)
            for name, example in shown.items():
                assert conforms(example, media_type["schema"]), (status, name)
            if status >= "400":
                assert re.findall(r"`(\w+)`:", response["description"]) == list(shown)
            if kind == PROBLEM:
                assert {(one["code"], str(one["status"])) for one in shown.values()} == {
                    (code, status) for code in shown
                }


@each_operation
def test_common_refusals_are_described(operation: Operation) -> None:
    expected = {"421", "400" if operation.path.startswith("/v1/") else "422", "500"}
    if operation.method in ("post", "put", "patch"):
        expected |= {"400", "408", "413", "415", "503"}
    if "security" in operation.described:
        expected |= {"401", "403"}
    if "{job_id}" in operation.path:
        expected |= {"404"}
    assert expected <= set(operation.responses)


@each_operation
def test_its_links_lead_to_operations_that_take_them(operation: Operation) -> None:
    takes = {
        other.described["operationId"]: {
            parameter["name"] for parameter in other.described.get("parameters", [])
        }
        for other in OPERATIONS
    }
    for response in operation.responses.values():
        for link in response.get("links", {}).values():
            assert set(link["parameters"]) <= takes[link["operationId"]]


def test_every_code_is_described_somewhere() -> None:
    responses = [
        *DOCUMENT["components"]["responses"].values(),
        *(
            response
            for operation in OPERATIONS
            for status, response in operation.responses.items()
            if status >= "400"
        ),
    ]
    described = {
        code
        for response in responses
        for media_type in response["content"].values()
        for code in examples_of(media_type)
    }
    assert described == {kind.code for kind in subclasses(ServiceError) if hasattr(kind, "code")}


def test_the_id_of_a_panorama_is_described(api: httpx.Client) -> None:
    for operation in OPERATIONS:
        for parameter in operation.described.get("parameters", []):
            if parameter["name"] == "job_id":
                assert parameter["schema"]["pattern"] == JOB_ID_PATTERN
    assert re.fullmatch(JOB_ID_PATTERN, examples.JOB_ID)
    assert api.get("/panoramas/nonsense").status_code == 404


def _publish_model_that_ships(redis: Redis) -> None:
    """What it makes: the document's examples are about its sizes."""
    state = models.get(redis, "embedded")
    assert state is not None
    traits = read_traits(str(WEIGHTS))
    models.publish(redis, state.model_copy(update={"traits": traits}))


@pytest.mark.parametrize("name", examples.REQUESTS)
def test_the_requests_it_shows_are_accepted(
    api: httpx.Client, redis: Redis, objects: ObjectStore, name: str
) -> None:
    """By a worker with a ControlNet and a tiny decoder, once picture and webhook secret exist."""
    WebhookSecrets(redis).create("default")
    _publish_model_that_ships(redis)
    picture = png((1536, 256))
    sha256 = hashlib.sha256(picture).hexdigest()
    objects.put(examples.UPLOAD_KEY, picture, "image/png", sha256)
    answer = api.post("/panoramas", json=examples.REQUESTS[name]["value"])
    assert answer.status_code == 202, answer.text


def test_the_refusals_it_shows_are_real(
    api: httpx.Client, store: JobStore, redis: Redis, settings: Settings
) -> None:
    _publish_model_that_ships(redis)
    queued = examples.JOB_ID
    params = PanoramaParams(prompt="a hill").resolve(TRAITS)
    store.create(JobRecord.new(params, "embedded", DEFAULT_TENANT, {}, job_id=queued))
    here = f"/panoramas/{queued}"
    body = {"prompt": "a hill"}
    keyed = {"Idempotency-Key": "order-7"}
    api.post("/panoramas", json=body, headers=keyed)
    real = [
        api.get(f"{here}/image"),
        api.get(f"{here}/preview"),
        api.delete(here),
        api.get("/panorama"),
        api.put("/panoramas"),
        api.post("/panoramas", json={**body, "width": 700}),
        api.post("/panoramas", content=b"x", headers={"Content-Type": "application/json"}),
        api.post("/panoramas", content=b"x", headers={"Content-Type": "text/plain"}),
        api.post("/panoramas", content=b"x" * (MAX_BODY_BYTES + 1)),
        api.post("/panoramas", json={**body, "seed": 1}, headers=keyed),
    ]
    with serving(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})) as cut_off:
        real.append(cut_off.post("/panoramas", json={**body, "anchor_image": inline(png())}))
    with serving(settings.model_copy(update={"model": "./sea"})) as without_files:
        real.append(without_files.post("/panoramas", json=body))
    redis.flushdb()
    real.append(api.get(here))
    _, token = ApiKeys(redis).create("ada", ("read",))
    bearer = {"Authorization": f"Bearer {token}"}
    real += [api.get(here), api.post("/panoramas", json=body, headers=bearer)]
    for answer in real:
        example = REFUSALS[answer.json()["code"]]
        assert answer.json() == example.problem()
        for name, value in example.headers.items():
            assert answer.headers[name] == value
    assert len({answer.json()["code"] for answer in real}) == len(real)
