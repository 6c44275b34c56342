"""Python's garbage collector, kept away from what imports make."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is looked through in the block, nor later what it leaves.

    Importing torch and diffusers makes a million objects and no garbage. Looking through them time
    and again was a fifth of the time that it takes. Looking through the API's 120,000 stopped its
    event loop for 0.1 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
