"""How long an attempt waits for an S3 that is away, in place of failing at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
WAIT_S = 2.0

_T = TypeVar("_T")


class Patience:
    """From its making on, for all that is asked with it together."""

    def __init__(self, check: Callable[[], None]) -> None:
        """`check` runs before each try, and may raise."""
        self._check = check
        self._deadline = time.monotonic() + PATIENCE_S

    def ask(self, call: Callable[[], _T]) -> _T:
        """What S3 answers in the end. Raises ObjectStoreError; NoSuchObject at once."""
        while True:
            self._check()
            try:
                return call()
            except NoSuchObject:
                raise
            except ObjectStoreError as error:
                if time.monotonic() + WAIT_S > self._deadline:
                    raise
                log.warning("%s; trying again", error)
                time.sleep(WAIT_S)
