"""What is done to a network of diffusers as a whole."""

from __future__ import annotations

from typing import Any


def match(network: Any, other: Any) -> None:
    """Move a network to the device and the dtype of another."""
    network.to(other.device)
    if network.dtype != other.dtype:  # diffusers warns of every conversion
        network.to(other.dtype)


def switch_gradient_checkpointing(network: Any, enabled: bool) -> None:
    """Networks that do not support it stay as they are."""
    if not network._supports_gradient_checkpointing:
        return
    if enabled:
        network.enable_gradient_checkpointing()
    else:
        network.disable_gradient_checkpointing()
