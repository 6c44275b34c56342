"""Ports on this machine's loopback."""

from __future__ import annotations

import socket

from panoweave.deploy.errors import PortTaken

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Raise `PortTaken` before anything starts, rather than let the API die in its log."""
    with socket.socket() as probe:
        # As uvicorn does: connections that linger after a restart don't count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTaken(port) from error
