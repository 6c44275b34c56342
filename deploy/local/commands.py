"""How the stack starts panoweave's own processes."""

from __future__ import annotations

import sys


def panoweave(*arguments: str) -> list[str]:
    """The command line of this installation's `panoweave`.

    `-P` keeps the current directory out of the import path.
    """
    return [sys.executable, "-P", "-m", "panoweave.deploy.cli", *arguments]
