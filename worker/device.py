"""A GPU that breaks: after some errors no call of a process is ever answered again."""

from __future__ import annotations

import logging
import os

import torch

log = logging.getLogger(__name__)

_EXIT_BROKEN = 71


def end_if_broken(device: torch.device) -> None:
    """End this process, for a supervisor to start a fresh one, where all that wait would fail.

    The job in hand is taken up as any lost worker's.
    """
    if not answers(device):
        log.critical("%s answers no more; this process ends", device)
        os._exit(_EXIT_BROKEN)


def answers(device: torch.device) -> bool:
    """Whether it still computes."""
    try:
        return bool((torch.ones(2, device=device).sum() == 2).item())
    except (RuntimeError, AssertionError):  # the latter: a torch without CUDA
        return False
