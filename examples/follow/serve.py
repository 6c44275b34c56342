"""Serve a page that creates a panorama and follows its events in the browser.

    python examples/follow/serve.py        # then open http://127.0.0.1:8080/

A browser must not hold the API key, and the API sends no CORS headers. So this server hands out the
page and forwards the page's requests to the API, with the key. Needs `httpx`. The environment
variables PANOWEAVE_URL and PANOWEAVE_API_KEY name the service and the API key.
"""

from __future__ import annotations

import argparse
import os
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import httpx

_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/follow.js": ("follow.js", "text/javascript; charset=utf-8"),
}
# What the page asks for, and nothing else of the API.
_FORWARDED: Final = {
    "POST": re.compile(r"/panoramas"),
    "GET": re.compile(r"/panoramas/pano_[a-z0-9]+/(events|preview|image)"),
}
_REQUEST_HEADERS: Final = ("Content-Type", "Idempotency-Key", "Last-Event-ID")
_RESPONSE_HEADERS: Final = ("Content-Type", "Location", "Retry-After")
_MAX_BYTES: Final = 100_000
_POLICY: Final = "default-src 'self'; img-src 'self' http: https:"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, api: httpx.Client) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api = api


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in _FILES:
            name, media_type = _FILES[path]
            self._send_file(Path(__file__).with_name(name), media_type)
        else:
            self._forward("GET", path, b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > _MAX_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self._forward("POST", self.path, self.rfile.read(length))

    def _send_file(self, file: Path, media_type: str) -> None:
        body = file.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _forward(self, method: str, path: str, body: bytes) -> None:
        if not _FORWARDED[method].fullmatch(path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        headers = {name: self.headers[name] for name in _REQUEST_HEADERS if name in self.headers}
        try:
            with self.server.api.stream(method, path, headers=headers, content=body) as answer:
                self.send_response(answer.status_code)
                for name in _RESPONSE_HEADERS:
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                for chunk in answer.iter_raw():  # events, as they come
                    self.wfile.write(chunk)
                    self.wfile.flush()
        except httpx.ConnectError:
            self.send_error(HTTPStatus.BAD_GATEWAY)
        except (httpx.TransportError, ConnectionError):
            # One side went away in the middle. The browser connects again, with Last-Event-ID.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing for each request."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a page that follows a panorama's events.")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    api_key = os.environ.get("PANOWEAVE_API_KEY")
    api = httpx.Client(
        base_url=os.environ.get("PANOWEAVE_URL", "http://127.0.0.1:8000"),
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=httpx.Timeout(10, read=60),  # an idle event stream sends a comment every 15 s
    )
    with api, Server(given.port, api) as server:
        print(f"open http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
