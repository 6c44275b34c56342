"""Keeps a server that does not answer from holding all waiting threads.

pybreaker holds a lock during each call, and circuitbreaker lets everybody through when its pause is
over: either way a server that hangs would hold the threads that this is to keep free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class NotAsked(Exception):
    """The server was not asked: it has not answered others, or too many are asking it."""


class Breaker:
    """After `failures` calls in a row without an answer, refuse calls for `pause_s`, then let one
    through to see. At most `at_once` calls run at a time; more wait for `queue_s`, then are
    refused."""

    def __init__(
        self,
        no_answer: type[Exception],
        *,
        at_once: int = 20,
        queue_s: float = 0.25,
        failures: int = 5,
        pause_s: float = 5.0,
    ) -> None:
        self._no_answer = no_answer
        self._slots = threading.BoundedSemaphore(at_once)
        self._queue_s = queue_s
        self._limit = failures
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._failures = 0  # in a row
        self._open_until = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call. Raises NotAsked; whatever the call raises passes through."""
        if not self._slots.acquire(timeout=self._queue_s):
            raise NotAsked("too many wait for its answer")
        try:
            self._admit()
            try:
                yield
            except self._no_answer:
                self._count_failure()
                raise
            except Exception:
                self._note_answer()  # a refusal is an answer
                raise
            self._note_answer()
        finally:
            self._slots.release()

    def _admit(self) -> None:
        with self._lock:
            if self._failures < self._limit:
                return
            now = time.monotonic()
            if now < self._open_until:
                raise NotAsked("it has not answered lately")
            self._open_until = now + self._pause_s  # for all but this call

    def _note_answer(self) -> None:
        with self._lock:
            self._failures = 0

    def _count_failure(self) -> None:
        with self._lock:
            self._failures += 1
            self._open_until = time.monotonic() + self._pause_s
