"""Receivers of webhooks and other uploads: real HTTP servers, some of which behave badly."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes
    payload: Any = None  # verified, where the receiver has a secret

    def verified(self, secret: str) -> Any:
        """The payload. Raises where it isn't signed with this secret."""
        return Webhook(secret).verify(self.body, self.headers)


Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behave


def drip(handler: BaseHTTPRequestHandler) -> None:
    """One byte at a time: no read times out, and the answer never ends."""
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.1)


def never_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def be_silent(handler: BaseHTTPRequestHandler) -> None:  # noqa: ARG001
    time.sleep(60)


def be_silent_until(released: threading.Event) -> Behaviour:
    def behave(_: BaseHTTPRequestHandler) -> None:
        released.wait(600)

    return behave


@dataclass
class Receiver:
    url: str
    received: list[Received] = field(default_factory=list)
    secret: str | None = None
    behaviours: list[Behaviour] = field(default_factory=list)  # one a request; the last one stays

    def next_behaviour(self) -> Behaviour:
        if len(self.behaviours) > 1:
            return self.behaviours.pop(0)
        return self.behaviours[0] if self.behaviours else answer(200)


def self_signed(folder: Path, named: str) -> tuple[ssl.SSLContext, Path]:
    """A TLS context for a receiver, and its self-signed certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=receiver"]
    made += ["-addext", f"subjectAltName={named}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls, certificate


@contextmanager
def receiving(
    *behaviours: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    receiver = Receiver("", behaviours=list(behaviours))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = dict(self.headers)
            # At once: a signature is good for five minutes.
            secret = receiver.secret
            payload = Webhook(secret).verify(body, headers) if secret else None
            receiver.received.append(Received(headers, body, payload))
            with suppress(OSError):  # cut off by the sender
                receiver.next_behaviour()(self)

        do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128  # of 5, a busy machine fills: those that follow wait for seconds

        def handle_error(self, *_: object) -> None:
            pass

    server = Server((host, 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    name = f"[{host}]" if ":" in host else host
    receiver.url = f"{'https' if tls else 'http'}://{name}:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
