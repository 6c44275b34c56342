"""A stack in the background: whose is used, and from when on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from panoweave.deploy.errors import StackFailed
from panoweave.deploy.local.background import background_stack
from panoweave.deploy.local.data_dir import DataDir, StackState

STARTING = StackState(pid=1, api_url="http://127.0.0.1:1", ready=False, children={})


def soon(act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(0.3, act)
    timer.start()
    return timer


def test_a_stack_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    """Its API answers before its worker has loaded the model."""
    home = DataDir(tmp_path)
    with home.hold():
        home.publish(STARTING)
        is_ready = threading.Event()

        def load() -> None:
            is_ready.set()
            home.publish(STARTING.model_copy(update={"ready": True}))

        timer = soon(load)
        with background_stack(tmp_path, port=None) as api_url:
            assert is_ready.is_set()
            assert api_url == STARTING.api_url
        timer.join()


def test_a_stack_that_ends_while_it_starts_is_named(tmp_path: Path) -> None:
    home = DataDir(tmp_path)
    stack = ExitStack()
    stack.enter_context(home.hold())
    home.publish(STARTING)
    timer = soon(stack.close)
    with (
        pytest.raises(StackFailed, match=f"the stack on {tmp_path} ended"),
        background_stack(tmp_path, port=None),
    ):
        pass
    timer.join()
