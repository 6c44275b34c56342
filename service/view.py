"""The base of all answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    # A view that fails to validate is logged. Its values, such as the prompt, must not be.
    model_config = ConfigDict(hide_input_in_errors=True)
