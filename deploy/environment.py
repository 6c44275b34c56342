"""Reads the settings of this process from the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from panoweave.deploy.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from panoweave.core.infra.settings import Settings

ENV_PREFIX = "PANOWEAVE_"


def read_settings(defaults: Mapping[str, str] | None = None) -> Settings:
    """The settings. `defaults`: variables to use where the environment has none.

    Raises BadOption, which names each variable that is not legal.
    """
    from panoweave.core.infra.settings import Settings

    left_open = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in (defaults or {}).items()
        if not os.environ.get(name)
    }
    try:
        return Settings.model_validate(left_open)
    except ValidationError as error:
        problems = [
            f"{ENV_PREFIX}{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            for one in error.errors()
        ]
        raise BadOption(
            "; ".join(problems),
            "correct these environment variables: docs/settings.md has the legal values",
        ) from error
