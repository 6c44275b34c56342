"""A small HTTP server for worker and janitor: /metrics, /livez and /readyz."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.models import WorkerState

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class Health(NamedTuple):
    """Whether a process is ready to work."""

    status: WorkerState
    detail: str = ""


class CannotListen(Exception):
    """The port is taken, or the host is not an address of this machine."""


@contextmanager
def serve_health(
    settings: Settings, registry: CollectorRegistry, health: Callable[[], Health]
) -> Iterator[None]:
    """Serve while the block runs, if a port is set. Raises CannotListen."""
    if settings.metrics_port is None:
        yield
        return
    host, port = settings.metrics_host, settings.metrics_port
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, _application(registry, health), kind, _Handler)
    except OSError as error:
        raise CannotListen(f"{host} port {port}: {error.strerror}") from error
    with server:
        log.info("metrics on %s port %d", host, server.server_port)
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _application(registry: CollectorRegistry, health: Callable[[], Health]) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/livez":
                return _json(start_response, "200 OK", {"status": "alive"})
            case "/readyz":
                now = health()
                status = "200 OK" if now.status == "ready" else "503 Service Unavailable"
                return _json(start_response, status, now._asdict())
        return _json(start_response, "404 Not Found", {"status": "unknown path"})

    return application


def _json(start_response: StartResponse, status: str, body: dict[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a slow client blocks no other request and no exit


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10  # s, for a client that sends nothing

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a line for each scrape would bury the rest."""
