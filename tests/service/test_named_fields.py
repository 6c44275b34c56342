"""Whatever is wrong with a request, the field is named as the caller spelled it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from panoweave.core.accepted_values import FieldError, explain
from panoweave.core.checkpoint import CheckpointTraits, LoraTraits
from panoweave.service.schemas import PanoramaRequest
from tests.core.drawn_requests import requests

TRAITS = CheckpointTraits(
    window_px=32, px_per_latent=8, controlnet=True, loras=[LoraTraits(name="ink")]
)
BESIDE = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(min_size=1, max_size=5),
        "n": st.integers(1, 10),
        "priority": st.integers(-9, 9),
        "start_within_s": st.integers(1, 9),
        "expires_in": st.integers(60, 99),
        "webhook": st.just({"url": "https://example.com/x", "events": ["panorama.failed"]}),
        "metadata": st.just({"order": 7}),
    },
)
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, -1, 0, 10**400, 1.5, float("inf"), float("nan")),
        *("", " ", "centre", "x" * 9_000, "\ud800", [], {}, [{}], {"zz": 1}, [1]),
        {"base64": "eA==", "key": "a"},
        [{"prompt": "x"}] * 20,
        [{"prompt": "x", "x": 0}],
    ]
)
Path = tuple[str | int, ...]


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(part, (*path, name))


@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_every_field_at_fault_is_one_of_the_request(data: st.DataObject) -> None:
    """Or one that is missing from it; and what is said to be legal there is."""
    # Copied: what a strategy draws may be one of its own objects, the same in each example.
    body = copy.deepcopy(data.draw(requests("any", TRAITS)).asked | data.draw(BESIDE))
    for _ in range(data.draw(st.integers(1, 2))):
        *above, name = data.draw(st.sampled_from(list(paths(body))))
        place: Any = body
        for part in above:
            place = place[part]
        kind = data.draw(st.sampled_from(["wrong", "unknown", "missing"]))
        if kind == "missing":
            place.pop(name)
        elif kind == "unknown" and isinstance(place, dict):
            place["zz"] = 1
        else:
            place[name] = copy.deepcopy(data.draw(WRONG))
    for found in problems(body):
        assert found.detail
        assert found.legal
        assert "xxxx" not in "".join(found)
        place, name = parent(body, found.field)
        for value in named_values(found.legal):
            other = copy.deepcopy(body)
            parent(other, found.field)[0][name] = value
            assert found.field not in {each.field for each in problems(other)}, found


def problems(body: dict[str, Any]) -> list[FieldError]:
    try:
        PanoramaRequest.model_validate(body)
    except ValidationError as error:
        return [explain(PanoramaRequest, each) for each in error.errors(include_url=False)]
    return []


def parent(body: Any, field: str) -> tuple[Any, Any]:
    """What has the field, or lacks it, and the field's name or number there."""
    *above, name = [int(part) if part.isdigit() else part for part in field.split(".")]
    for part in above:
        body = body[part]
    assert isinstance(body, list if isinstance(name, int) else dict)
    return body, name


def named_values(legal: str) -> list[Any]:
    values: list[Any] = re.findall(r"'([^']+)'", legal)
    if legal.endswith("or null"):
        values.append(None)
    if range_ := re.search(r"a whole number from (-?\d+) to (-?\d+)", legal):
        values += map(int, range_.groups())
    return values
