"""One POST to an address that somebody else chose: to no address that is not public, to nobody that
it redirects to, for no longer than a deadline, and without reading what comes back."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import Any, Final, NamedTuple

import requests
from AntiSSRF import AntiSSRFError, AntiSSRFPolicy
from requests.exceptions import InvalidURL, RequestException, SSLError, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from panoweave.core.webhooks.deliveries import TryError

DEADLINE_S: Final = 15.0


class NotSent(Exception):
    def __init__(self, error: TryError) -> None:
        super().__init__(error)
        self.error = error


class Answered(NamedTuple):
    status: int
    retry_after: str | None


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    policy: AntiSSRFPolicy,
    deadline_s: float,
    tls: ssl.SSLContext | None = None,
) -> Answered:
    """Raises NotSent where there was no answer in time.

    `tls`: which authorities are trusted beside requests' own list.
    """
    with policy.get_antissrf_session() as session, _Deadline(session, deadline_s) as deadline:
        for adapter in session.adapters.values():
            adapter.poolmanager.connection_pool_kw["ssl_context"] = tls
        session.trust_env = False  # a proxy would connect in our place, to whatever it likes
        try:
            with session.post(
                url,
                data=body,
                headers=headers,
                timeout=deadline_s,
                allow_redirects=False,
                stream=True,  # the status is all that is read
            ) as answer:
                return Answered(answer.status_code, answer.headers.get("Retry-After"))
        except (RequestException, AntiSSRFError, HTTPError, OSError, ValueError) as error:
            raise NotSent("timeout" if deadline.has_passed else _named(error)) from error


def _named(error: Exception) -> TryError:
    match error:
        case AntiSSRFError():
            return "target_refused"
        case socket.gaierror() | InvalidURL() | UnicodeError():
            return "unknown_host"
        case SSLError():
            return "tls_failed"
        case Timeout():
            return "timeout"
    return "connection_failed"


class _Deadline:
    """Cuts a session's connections when its time is up.

    requests' own time-out starts anew with every byte: a receiver that drips would keep a sender
    for hours.
    """

    def __init__(self, session: requests.Session, limit_s: float) -> None:
        self.has_passed = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(limit_s, self._cut)
        self._timer.daemon = True
        pools = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, self._watch),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, self._watch),
        }
        for adapter in session.adapters.values():
            adapter.poolmanager.pool_classes_by_scheme = pools  # type: ignore[attr-defined]

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for each in self._sockets:
            each.close()

    def _watch(self, opened: socket.socket) -> None:
        # A duplicate: TLS takes the socket itself over.
        self._sockets.append(opened.dup())
        if self.has_passed:  # while the name was being resolved
            self._cut()

    def _cut(self) -> None:
        self.has_passed = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _pool(pool: Any, connection: Any, watch: Any) -> Any:
    class Watched(connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            opened: socket.socket = super()._new_conn()
            watch(opened)
            return opened

    class Pool(pool):  # type: ignore[misc]
        ConnectionCls = Watched

    return Pool
