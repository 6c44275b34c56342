"""How torch's CPU threads wait for one another. Call it before torch is first imported."""

from __future__ import annotations

import os


def limit_spinning() -> None:
    """Let threads that wait go to sleep soon, unless GOMP_SPINCOUNT says otherwise.

    Threads that spin while they wait take the processor from the thread that they wait for: on two
    cores shared with another program, a step that takes 2 s alone took 16 to 39 s. With a short
    spin it takes its fair share, and alone it is as fast (docs/LOG.md).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
