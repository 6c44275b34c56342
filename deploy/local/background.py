"""`panoweave up` in the background, for commands that need a stack while they run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape

from panoweave.deploy.errors import StackFailed
from panoweave.deploy.local.child import Child
from panoweave.deploy.local.commands import panoweave
from panoweave.deploy.local.data_dir import DataDir, StackState
from panoweave.deploy.local.ports import LOOPBACK, free_port, require_free
from panoweave.deploy.local.stack import LONGEST_STOP_S
from panoweave.deploy.terminal import out, print_line

_MARGIN_S = 10.0


@contextmanager
def background_stack(data: Path, port: int | None) -> Iterator[str]:
    """Yield the API's address of the stack on this data directory.

    A stack that already runs there is used and left running. Otherwise one is started, and
    stopped at the end of the block. Either way its worker has loaded the model.
    """
    home = DataDir(data)
    already = home.running()
    if already is not None:
        print_line(
            f"a stack already runs on {escape(str(home.root))}: using it, leaving it running"
        )
        ready = _wait_until_ready(home, lambda: home.running() is None)
        if ready is None:
            raise StackFailed(f"the stack on {home.root} ended", f"its logs: {home.logs}")
        yield ready.api_url
        return
    if port is None:
        port = free_port()
    require_free(port)
    home.prepare()
    command = panoweave("up", "--data", str(home.root), "--port", str(port))
    stack = Child(
        "stack",
        command,
        {**os.environ, "PANOWEAVE_HOST": LOOPBACK},  # for this command alone
        home.logs / "stack.log",
        grace_s=LONGEST_STOP_S + _MARGIN_S,
        orphan_signal=signal.SIGTERM,  # it has to stop its own children in order
    )
    stack.start()
    try:
        ready = _wait_until_ready(home, lambda: stack.exit_status() is not None)
        if ready is None:
            raise StackFailed(
                f"the stack did not start:\n{stack.log_tail()}", f"its logs: {home.logs}"
            )
        yield ready.api_url
    finally:
        with out.status("stopping the stack"):
            stack.stop()


def _wait_until_ready(home: DataDir, has_ended: Callable[[], bool]) -> StackState | None:
    """The state of the stack once it is ready; None if it ends before."""
    with out.status(f"starting Redis, S3, API, worker and janitor in {escape(str(home.root))}"):
        while not has_ended():
            state = home.running()
            if state is not None and state.ready:
                return state
            time.sleep(0.2)
    return None
