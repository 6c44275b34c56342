"""Imported once by the process from which tests fork panoweave's (see tests/processes.py)."""

from __future__ import annotations

import gc
import importlib
import importlib.util

NEEDED = ["panoweave.deploy.serve.processes", "panoweave.service.app", "panoweave.worker.janitor"]
if importlib.util.find_spec("torch") is not None:
    NEEDED += ["panoweave.worker.main"]

for name in NEEDED:
    importlib.import_module(name)

# What is imported is no garbage: processes need not look through it, nor copy its pages.
gc.freeze()
