"""The base of all answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """An answer keeps the fields that this version of the client does not know."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
