"""Servers for tests of clients, and a network that cuts connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

import httpx


@contextmanager
def serving_requests(handler: Callable[..., BaseRequestHandler]) -> Iterator[str]:
    """The address of a server of this handler, which stops however the block ends."""
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        accepting = threading.Thread(target=server.serve_forever, args=(0.05,))
        accepting.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            accepting.join()


@contextmanager
def cutting(api: httpx.Client, answered_bytes: Sequence[int]) -> Iterator[str]:
    """The address of a proxy. It cuts its first connections after so many bytes of answers."""
    limits = list(answered_bytes)

    class Proxy(BaseRequestHandler):
        def handle(self) -> None:
            limit = limits.pop(0) if limits else None
            service = (api.base_url.host, api.base_url.port)
            with socket.create_connection(service) as upstream:
                asking = threading.Thread(target=_copy, args=(self.request, upstream, None))
                asking.start()
                _copy(upstream, self.request, limit)
                asking.join()

    with serving_requests(Proxy) as url:
        yield url
    assert not limits, "fewer connections were opened than were to be cut"


def _copy(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    """Until one side ends, or so many bytes were copied."""
    with suppress(OSError):
        while data := source.recv(65_536):
            if limit is not None:
                data = data[:limit]
                limit -= len(data)
            target.sendall(data)
            if limit == 0:
                break
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
