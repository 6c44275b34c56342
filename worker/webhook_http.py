"""One POST to a URL that a caller chose.

It connects to no address that the rules forbid, follows no redirect, asks no proxy, takes no longer
than its deadline, and reads nothing beyond the response's headers.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import certifi
import httpcore

from panoweave.core.webhooks.deliveries import TryError
from panoweave.core.webhooks.targets import TargetRules

DEADLINE_S: Final = 15.0


class NotSent(Exception):
    def __init__(self, error: TryError) -> None:
        super().__init__(error)
        self.error = error


class Response(NamedTuple):
    status: int
    retry_after: str | None


def tls_context() -> ssl.SSLContext:
    """Trusts the machine's authorities, or those of SSL_CERT_FILE, and certifi's list."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    rules: TargetRules,
    deadline_s: float,
    tls: ssl.SSLContext,
) -> Response:
    """Raises NotSent if there was no response in time."""
    if urlsplit(url).scheme not in rules.schemes:
        raise NotSent("target_refused")
    network = _Network(rules, time.monotonic() + deadline_s)
    with httpcore.ConnectionPool(ssl_context=tls, network_backend=network) as pool:
        try:
            named = [("Host", _host_header(url)), *headers.items()]
            with pool.stream("POST", url.encode("ascii"), headers=named, content=body) as response:
                found = {name.lower(): value for name, value in response.headers}
                retry_after = found.get(b"retry-after", b"").decode("latin-1")
                return Response(response.status, retry_after or None)
        except (OSError, ValueError, *_HTTPCORE_ERRORS) as error:
            raise NotSent(_name_of(error)) from error


def _host_header(url: str) -> str:
    """The URL's host, and its port if it is not the scheme's own. httpcore leaves the brackets of
    an IPv6 address out."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port in (None, _PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


_PORTS: Final = {"http": 80, "https": 443}
_HTTPCORE_ERRORS: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


def _name_of(error: Exception) -> TryError:
    match error:
        case TimeoutError():
            return "timeout"
        case socket.gaierror() | UnicodeError():
            return "unknown_host"
        case ssl.SSLError():
            return "tls_failed"
    return "connection_failed"


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses only, and gives up at the deadline.

    The host is resolved once for each connection, and the socket is connected to an address of that
    answer: a second look-up could say something else. The TLS server name and the Host header stay
    the URL's.
    """

    def __init__(self, rules: TargetRules, deadline: float) -> None:
        self._rules = rules
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 (the deadline is what counts)
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if not all(self._rules.permits(str(address[0])) for *_, address in found):
            raise NotSent("target_refused")
        failure = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(_remaining_s(self._deadline))
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Stream(connection, self._deadline)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A socket whose every operation ends by the deadline.

    httpcore's own timeouts begin anew with every byte: a receiver that sends one now and then would
    keep a sender for hours.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._socket = connection
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        self._socket.settimeout(_remaining_s(self._deadline))
        return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        try:
            while buffer:
                self._socket.settimeout(_remaining_s(self._deadline))
                buffer = buffer[self._socket.send(buffer) :]
        except TimeoutError:
            raise
        except OSError as error:
            # httpcore then reads the response of a receiver that did not wait for the whole body.
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        self._socket.settimeout(_remaining_s(self._deadline))
        try:
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return _Stream(wrapped, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002
        return None


def _remaining_s(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left
