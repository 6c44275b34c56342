"""`PANOWEAVE_LORAS`: JSON, by the names that requests use."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints
from pydantic_settings import NoDecode

from panoweave.core.loras import MAX_LORA_NAME_CHARS, LoraSource


def _read_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error


LoraName = Annotated[
    str, StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_LORA_NAME_CHARS - 1}}}$")
]
# pydantic-settings would read the JSON itself, and end in an error that names no variable.
OfferedLoras = Annotated[dict[LoraName, LoraSource], NoDecode, BeforeValidator(_read_json)]
