"""The errors of reading a checkpoint's files. core/diffusion/errors.py has the whole tree.

Torch-free: the API reads checkpoints' configuration too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pydantic import ValidationError

_LONGEST_MESSAGE: Final = 400


class DiffusionError(Exception):
    """Base of all errors of loading a checkpoint and making a panorama."""


class UnsupportedSchedulerError(DiffusionError):
    def __init__(self, name: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"{name} is not supported: a step of the whole canvas has to be linear in what it is "
            f"given, and its noise schedule known; use one of: {', '.join(supported)}"
        )


class CheckpointError(DiffusionError):
    pass


def in_one_line(error: Exception) -> str:
    """What another library's error says, for operators."""
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    if isinstance(error, OSError | ValueError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def by_field(error: ValidationError) -> str:
    """What a configuration file says wrong, in one line."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False):
        found.setdefault(str(each["loc"][0]) if each["loc"] else "it", each["msg"])
    return "; ".join(f"{field}: {message}" for field, message in found.items())


def by_path(error: ValidationError) -> str:
    """As `by_field`, with the whole path to each; for models whose fields are no unions."""
    errors = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in errors)


@contextmanager
def part_errors(
    what: str, legal: str | None = None, passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Raise CheckpointError, in one line with the part's name, for every error while loading it.

    `passing`: errors that the caller's caller handles, and that stay as they are.
    """
    try:
        yield
    except passing:
        raise
    except UnsupportedSchedulerError as error:
        error.args = (f"{what}: {error}",)
        raise
    except Exception as error:
        problem = str(error) if isinstance(error, DiffusionError) else in_one_line(error)
        remedy = f"; legal: {legal}" if legal else ""
        if not (legal or isinstance(error, DiffusionError)):
            remedy = "; download it again, or use another checkpoint"
        raise CheckpointError(f"{what}: {problem}{remedy}") from error
