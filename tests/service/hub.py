"""A hub of one repository, as huggingface_hub asks it, on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Serves the files of a folder as `org/sea`, at revision `v1`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.is_hanging = False
        self.must_ask_for: set[str] = set()  # nothing is answered before all of these are asked for
        self.asked_for: set[str] = set()
        self.released = threading.Event()
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path)
        if self.server.is_hanging:
            self.server.released.wait()
            return
        if self.server.must_ask_for:
            self.server.asked_for.add(path)
            if self.server.must_ask_for <= self.server.asked_for:
                self.server.released.set()
            self.server.released.wait()
        if path.startswith("/api/models/org/sea/revision/"):
            files = [file for file in self.server.folder.rglob("*") if file.is_file()]
            names = sorted(str(file.relative_to(self.server.folder)) for file in files)
            siblings = [{"rfilename": name} for name in names]
            about = {"id": "org/sea", "modelId": "org/sea", "sha": COMMIT, "siblings": siblings}
            self._answer(json.dumps(about).encode())
        elif path.startswith(f"/org/sea/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/org/sea/resolve/{COMMIT}/")
            if self.command == "GET":
                self.server.fetched.append(name)
            self._answer((self.server.folder / name).read_bytes())
        else:
            self._answer(b"{}", 404, **{"X-Error-Code": "RepoNotFound"})

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving_hub(folder: Path) -> Iterator[Hub]:
    with Hub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            hub.shutdown()
            thread.join()
