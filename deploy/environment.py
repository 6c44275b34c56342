"""Reads the settings of this process from the environment."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING

from pydantic import ValidationError

from panoweave.deploy.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from panoweave.core.infra.settings import Settings

ENV_PREFIX = "PANOWEAVE_"
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


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
        raise BadOption(
            "; ".join(map(_problem, error.errors())),
            "correct these environment variables: docs/settings.md has the legal values",
        ) from error


def _problem(error: ErrorDetails) -> str:
    """Names the variable, and the place in it if it holds an object."""
    if not error["loc"]:
        return error["msg"]  # of several variables, which the message names
    variable, *inside = map(str, error["loc"])
    place = f"{'.'.join(inside)}: " if inside else ""
    return f"{ENV_PREFIX}{variable.upper()}: {place}{error['msg']}"


def leave_loopback_to_no_proxy() -> None:
    """A proxy cannot reach this machine's own servers. boto3, httpx and urllib all read `no_proxy`,
    and so do the processes that this one starts."""
    if not urllib.request.getproxies_environment():
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name.strip() for name in known.split(",") if name.strip()]
    if "*" not in names:
        names += [name for name in _LOOPBACK_NAMES if name not in names]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(names)
