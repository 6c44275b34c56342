"""Every mistake gets a clear refusal that names the field and what is legal."""

from __future__ import annotations

import json

import httpx
import pytest

from panoweave.core.jobs.queue import Queue
from panoweave.service.http.body import MAX_BODY_BYTES
from tests.service.checks import at_fault, problem

JSON = {"content-type": "application/json"}


def post(api: httpx.Client, **fields: object) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", **fields})


@pytest.fixture(autouse=True)
def _nothing_is_accepted(api: httpx.Client, queue: Queue) -> None:  # noqa: ARG001
    assert queue.tickets("embedded").count == 0


def test_a_wrong_size_names_the_nearest(api: httpx.Client) -> None:
    error = at_fault(post(api, width=700))
    assert error["field"] == "width"
    assert "672 or 704" in error["legal"]
    assert "128" in at_fault(post(api, height=100))["legal"]


@pytest.mark.parametrize(
    ("fields", "field", "legal"),
    [
        ({"prompt": ""}, "prompt", "1 to 2,000 characters"),
        ({"prompt": " \n\t"}, "prompt", "not white space alone"),
        ({"prompt": "x" * 10_000}, "prompt", "1 to 2,000 characters"),
        ({"prompt": 3}, "prompt", "text"),
        ({"prompt": None}, "prompt", "text"),
        ({"negative_prompt": "x" * 10_000}, "negative_prompt", "0 to 2,000 characters"),
        ({"steps": 0}, "steps", "a whole number from 1 to 250"),
        ({"steps": 1.5}, "steps", "a whole number"),
        ({"steps": "many"}, "steps", "a whole number"),
        ({"width": 10**9}, "width", "from 1 to 32768 or null"),
        ({"stride": 33}, "stride", "multiples of 4"),
        ({"seed": -1}, "seed", "from 0"),
        ({"seed": 2**53}, "seed", str(2**53 - 1)),
        ({"guidance_scale": 0.5}, "guidance_scale", "a number from 1 to 30"),
        ({"window_fov": 180}, "window_fov", "below 180"),
        ({"sync": 3}, "sync", "an object with the fields weight"),
        ({"sync": {"weight": -1}}, "sync.weight", "from 0 to 1000"),
        ({"sync": {"decay": 0}}, "sync.decay", "above 0, to 1"),
        ({"sync": {"anchor": "left"}}, "sync.anchor", "'centre' or a whole number from 0 to 4095"),
        ({"sync": {"anchor": 21}}, "sync.anchor", "'centre' or 0 to 20"),
        ({"sync": {"steps": 51}}, "sync.steps", "0 to 50"),
        ({"sync": {"reuse_prediction": 1}}, "sync.reuse_prediction", "true or false or null"),
        ({"sync": {"max_move": 0}}, "sync.max_move", "a number above 0, to 1000"),
        ({"sync": {"decoder": "tiny"}}, "sync.decoder", "'full'"),
        ({"preset": "best"}, "preset", "'paper' or 'balanced' or 'fast'"),
        ({"windows": "many"}, "windows", "'overlapping' or 'shifted' or null"),
        ({"sync": {"wait": 1}}, "sync.wait", "weight, decay, max_move, tuned_steps, steps, every"),
        ({"regions": 3}, "regions", "boxes or masks"),
        ({"regions": [{"prompt": "x", "x": 0, "width": 8}] * 17}, "regions", "up to 16 boxes"),
        ({"regions": [{"prompt": ""}]}, "regions.0.prompt", "1 to 2,000 characters"),
        ({"regions": [{"prompt": "x"}]}, "regions.0", "an object with the fields prompt,"),
        ({"regions": [{"prompt": "x", "left": 1}]}, "regions.0.left", "the fields prompt,"),
        (
            {"regions": [{"prompt": "x", "x": 8, "width": 900}]},
            "regions.0.width",
            "multiples of 4 from 4 to 760",
        ),
        ({"extend": {"x": 0}}, "extend.image", "an object with the fields base64, key"),
        (
            {"control": {"image": {"key": "default/a"}}},
            "control.type",
            "'canny' or 'hint'",
        ),
        (
            {"control": {"type": "depth", "image": {"key": "default/a"}}},
            "control.type",
            "'canny' or 'hint'",
        ),
        (
            {"control": {"type": "hint", "image": {"key": "default/a"}, "scale": 3}},
            "control.scale",
            "a number from 0 to 2",
        ),
        ({"control": {"type": "hint"}}, "control.image", "an object with the fields base64, key"),
        (
            {"control": {"type": "hint", "image": {"key": "default/a"}}},
            "control",
            "PANOWEAVE_CONTROLNET",
        ),
        ({"scheduler": "pndm"}, "scheduler", "'ddim' or 'euler' or 'dpm++' or 'lcm' or null"),
        ({"loop": 1}, "loop", "true or false"),
        ({"loop": True, "width": 700}, "width", "multiples of 32 from 128, nearest: 672 or 704"),
        ({"wdith": 768}, "wdith", "prompt, negative_prompt, width"),
        ({"metadata": [1]}, "metadata", "any JSON object"),
        ({"metadata": {"a": "x" * 9_000}}, "metadata", "up to 8,192 bytes"),
    ],
)
def test_the_field_and_what_it_takes_are_named(
    api: httpx.Client, fields: dict[str, object], field: str, legal: str
) -> None:
    answer = post(api, **fields)
    error = at_fault(answer)
    assert error["field"] == field
    assert legal in error["legal"]
    assert "xxxx" not in answer.text


def test_every_field_at_fault_is_named(api: httpx.Client) -> None:
    answer = api.post("/panoramas", json={"steps": 0, "sync": {"every": 0}})
    refused = problem(answer, 422, "invalid_params")
    assert {error["field"] for error in refused["errors"]} == {"prompt", "steps", "sync.every"}


def test_params_webhook_and_metadata_are_checked_together(api: httpx.Client) -> None:
    refused = problem(post(api, steps=0, webhook={}, metadata=[1]), 422, "invalid_params")
    fields = {error["field"] for error in refused["errors"]}
    assert fields == {"steps", "webhook.url", "metadata"}


def test_no_field_is_called_params(api: httpx.Client) -> None:
    """In the code, the parameters are a part of the request. In JSON they are its fields."""
    assert at_fault(post(api, params={"prompt": "a hill"}))["field"] == "params"


def test_a_field_without_end_is_cut(api: httpx.Client) -> None:
    assert len(post(api, **{"y" * 50_000: 1}).text) < 1_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_have_is_malformed(api: httpx.Client, number: str) -> None:
    body = f'{{"prompt": "a hill", "guidance_scale": {number}}}'
    refused = problem(api.post("/panoramas", content=body, headers=JSON), 400, "malformed_json")
    assert "line 1 column 4" in refused["detail"]
    assert number not in refused["detail"]


@pytest.mark.parametrize("where", ['"guidance_scale": 1e400', '"metadata": {"a": [1e400]}'])
def test_a_number_beyond_all_numbers_is_refused(api: httpx.Client, where: str) -> None:
    body = f'{{"prompt": "a hill", {where}}}'
    answer = api.post("/panoramas", content=body, headers=JSON)
    assert at_fault(answer)["field"] in where
    assert "Infinity" not in answer.text


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b'{"prompt": "a hill",}', "line 1 column 21"),
        (b'{\n  "prompt": \n}', "line 3 column 1"),
        (b"prompt=a+hill", "line 1 column 1"),
        (b'{"prompt": "a hill"} and more', "line 1 column 22"),
        (b'{"prompt": "\xff"}', "line 1 column 1"),
        (b'{"prompt": "\\ud800"}', "line 1 column"),
        (b"[" * 10_000, "line 1 column"),
    ],
)
def test_malformed_json_is_refused_with_its_place(
    api: httpx.Client, body: bytes, position: str
) -> None:
    refused = problem(api.post("/panoramas", content=body, headers=JSON), 400, "malformed_json")
    assert position in refused["detail"]


@pytest.mark.parametrize("body", [b"[]", b'"a hill"', b"null", b"3"])
def test_a_body_that_is_no_object_is_refused(api: httpx.Client, body: bytes) -> None:
    error = at_fault(api.post("/panoramas", content=body, headers=JSON))
    assert error["field"] == "body"
    assert "prompt" in error["legal"]


def test_no_body_at_all_is_refused(api: httpx.Client) -> None:
    assert at_fault(api.post("/panoramas"))["field"] == "body"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(api: httpx.Client, content_type: str) -> None:
    body = json.dumps({"prompt": "a hill"})
    answer = api.post("/panoramas", content=body, headers={"content-type": content_type})
    problem(answer, 415, "unsupported_media_type")
    assert answer.headers["accept"] == "application/json"


def test_a_body_that_is_too_large_is_refused(api: httpx.Client) -> None:
    refused = problem(post(api, metadata={"a": "x" * MAX_BODY_BYTES}), 413, "body_too_large")
    assert "8,388,608" in refused["detail"]
    streamed = (b" " * 100_000 for _ in range(100))  # no Content-Length to tell by
    answer = api.post("/panoramas", content=streamed, headers=JSON)
    problem(answer, 413, "body_too_large")


def test_unknown_paths_and_methods_are_problems_too(api: httpx.Client) -> None:
    problem(api.get("/panorama"), 404, "unknown_path")
    problem(api.get("/panoramas/"), 404, "unknown_path")
    answer = api.put("/panoramas", json={})
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
