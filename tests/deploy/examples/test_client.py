"""examples/client.py: creates a panorama once, waits, and saves the picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from tests.deploy.examples.service import Service


def test_it_saves_the_picture(service: Service, tmp_path: Path) -> None:
    arguments = ("a lake", "--width", "128", "--seed", "7", "--steps", "2", "-o", "lake.png")
    done = service.run("client.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "128 x 64 px, seed 7" in done.stdout
    with Image.open(tmp_path / "lake.png") as picture:
        assert picture.size == (128, 64)


def test_a_refusal_names_field_and_legal_values(service: Service, tmp_path: Path) -> None:
    done = service.run("client.py", "a lake", "--width", "101", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("invalid_params: width")
    assert "96 or 112" in done.stderr


def test_a_model_that_there_is_not_is_refused(service: Service, tmp_path: Path) -> None:
    done = service.run("client.py", "a lake", "--model", "org/none", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("invalid_params: model")


def test_a_lost_answer_makes_no_second_panorama(service: Service, tmp_path: Path) -> None:
    before = len(service.panoramas())
    with losing_the_first_answer(service) as (url, requests):
        arguments = ("a lake", "--width", "128", "--steps", "2")
        done = service.run("client.py", *arguments, cwd=tmp_path, PANOWEAVE_URL=url)
    assert done.returncode == 0, done.stderr
    assert requests[:2] == ["POST /panoramas"] * 2
    assert len(service.panoramas()) == before + 1


@contextmanager
def losing_the_first_answer(service: Service) -> Iterator[tuple[str, list[str]]]:
    """A proxy that hands on every request and drops the answer to the first one."""
    requests: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = ("authorization", "content-type", "idempotency-key", "prefer")
            headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
            with service.http() as http:
                answer = http.request(self.command, self.path, content=body, headers=headers)
            if len(requests) == 1:
                return  # the connection closes
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Location"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            serving.join()
