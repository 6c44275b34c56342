"""Ports of this machine."""

from __future__ import annotations

import ipaddress
import socket

from panoweave.deploy.errors import BadOption, PortTaken

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, host: str = LOOPBACK) -> None:
    """Raise `PortTaken` before anything starts, rather than let the API die in its log."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise BadOption(f"PANOWEAVE_HOST: {host} is no address of this machine") from error
    if not _is_free(family, address):
        raise PortTaken(port, host)


def is_free(port: int) -> bool:
    """On loopback."""
    return _is_free(socket.AF_INET, (LOOPBACK, port))


def _is_free(family: int, address: tuple[object, ...]) -> bool:
    with socket.socket(family) as probe:
        # As the servers do: connections that linger after a restart don't count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def url_of(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else LOOPBACK)
    name = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{name}:{port}"
