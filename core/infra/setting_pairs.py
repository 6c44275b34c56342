"""Checks settings that mean something only together."""

from __future__ import annotations

from pydantic_settings import BaseSettings


def check_both_or_neither(settings: BaseSettings, one: str, other: str) -> None:
    """Raises ValueError if one of the two fields is set without the other."""
    if (getattr(settings, one) is None) != (getattr(settings, other) is None):
        raise ValueError(
            f"PANOWEAVE_{one.upper()} and PANOWEAVE_{other.upper()} go together: set both or "
            "neither"
        )
