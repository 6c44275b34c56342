"""How the stack starts panoweave's own processes."""

from __future__ import annotations

import sys


def panoweave(*arguments: str) -> list[str]:
    """This installation's `panoweave`, wherever the caller stands (-P: not a folder named `deploy`
    in the current directory)."""
    return [sys.executable, "-P", "-m", "panoweave.deploy.cli", *arguments]
