"""How torch's CPU threads wait for one another. Set before torch is first imported."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Threads that wait go to sleep soon instead of spinning.

    On two cores shared with another program, spinning threads hold up the very thread that they
    wait for: a step that takes 2 s alone took 16 to 39 s. With a short spin it takes its fair
    share, and alone it is as fast (docs/LOG.md). What the person has set stands.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
