"""A request in OpenAI's terms as one to /panoramas, and refusals in the terms of the former."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import ValidationError

from panoweave.core.accepted_values import explain
from panoweave.core.checkpoint import InvalidParams
from panoweave.service.openai.schemas import ImagesRequest
from panoweave.service.schemas import PanoramaRequest

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_SIZES: Final = "'auto' or WIDTHxHEIGHT in pixels, such as 1536x256"
_NAMES: Final = {"width": "size", "height": "size"}
# Of the costs, only the size can be asked for here.
_COSTS: Final = frozenset({"stride", "steps"})


def panorama_request(asked: ImagesRequest) -> PanoramaRequest:
    """Raises InvalidParams, which `in_openai_terms` translates."""
    _check_stream(asked)
    fields: dict[str, Any] = {"prompt": asked.prompt, "output": {"format": asked.output_format}}
    fields |= {"model": asked.model, "seed": asked.seed, "n": asked.n}
    fields |= {"metadata": {"user": asked.user}} if asked.user else {}
    if asked.size not in (None, "auto"):
        found = _SIZE.fullmatch(asked.size)
        if not found:
            raise InvalidParams("size", "is no size", _SIZES)
        fields |= {"width": int(found[1]), "height": int(found[2])}
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return PanoramaRequest.model_validate(given)
    except ValidationError as error:
        field, problem, legal = explain(PanoramaRequest, error.errors(include_input=False)[0])
        raise InvalidParams(field, problem, legal) from None


def _check_stream(asked: ImagesRequest) -> None:
    if not asked.stream:
        if asked.partial_images:
            raise InvalidParams("partial_images", "there is no stream to send them in", "0")
        return
    if asked.n > 1:
        raise InvalidParams("n", "a stream shows one panorama", "1")
    if asked.response_format == "url":
        raise InvalidParams("response_format", "a stream has the picture itself", "'b64_json'")


@contextmanager
def in_openai_terms() -> Iterator[None]:
    """InvalidParams that the block raises names the field that the client sent."""
    try:
        yield
    except InvalidParams as error:
        if error.field in _COSTS:
            raise InvalidParams("size", error.problem, "a smaller size") from error
        if error.field == "output.format":  # fewer can be asked for here
            raise InvalidParams("output_format", error.problem, "'png' or 'jpeg'") from error
        if error.field in _NAMES:
            problem = f"{error.field}: {error.problem}"
            raise InvalidParams(_NAMES[error.field], problem, error.legal) from error
        raise
