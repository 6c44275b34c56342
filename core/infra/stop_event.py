"""An event that a signal handler may set."""

from __future__ import annotations

import os
import select
import threading


class StopEvent(threading.Event):
    """Set once, by a signal handler or any thread; waited for by any thread.

    `threading.Event.set` takes the lock that `threading.Event.wait` holds for moments. A signal
    handler interrupts the main thread between any two instructions: if they are those moments,
    the handler waits for a lock that its own thread will never release. This event takes no lock:
    `wait` sleeps until a pipe can be read, and `set` writes to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._read_fd, self._write_fd = os.pipe()

    def __del__(self) -> None:
        os.close(self._read_fd)
        os.close(self._write_fd)

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._write_fd, b"\0")  # never read: waiting threads, now or later, wake up

    def clear(self) -> None:
        raise NotImplementedError("a stop that was asked for cannot be taken back")

    def wait(self, timeout: float | None = None) -> bool:
        waiter = select.poll()
        waiter.register(self._read_fd, select.POLLIN)
        waiter.poll(None if timeout is None else max(0.0, timeout) * 1_000)
        return self._is_set
