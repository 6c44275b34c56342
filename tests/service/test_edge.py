"""What a caller without an API key can cost the API: nearly nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from redis import Redis

from bench import edge
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.ports import free_port
from panoweave.service.http import body as body_module
from panoweave.service.http import connections
from panoweave.service.http.body import MAX_BODY_BYTES
from panoweave.service.http.connections import (
    MAX_HEADER_BYTES,
    BoundedHttpProtocol,
    Connections,
)
from tests.processes import process, wait_until
from tests.service.checks import problem
from tests.service.server import serving

HEAD = b"POST /panoramas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def closed(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:  # noqa: ARG001
    """The API as it is by default: it lets nobody in without a key."""
    with serving(settings.model_copy(update={"anonymous": "off"})) as api:
        yield api


def connect(api: httpx.Client) -> socket.socket:
    assert api.base_url.port is not None
    return socket.create_connection((api.base_url.host, api.base_url.port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    """Until the server closes the connection."""
    read = b""
    while part := client.recv(65_536):
        read += part
    return read


def code(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert b"application/problem+json" in head
    return f"{head.split()[1].decode()} {json.loads(body)['code']}"


@pytest.fixture(scope="module")
def attacked() -> Iterator[tuple[int, int]]:
    """The port and the process id of a `panoweave api`."""
    with edge.serving() as api:
        yield api


@pytest.mark.parametrize(
    "attack",
    [attack for attack in edge.ATTACKS if attack is not edge.quiet],
    ids=lambda attack: attack.__name__,
)
def test_attacks_without_a_key_leave_the_api_alone(
    attack: edge.Attack, attacked: tuple[int, int]
) -> None:
    """`python -m bench.edge` prints the figures. These bounds are generous, for busy machines."""
    figures = edge.measure(attack, *attacked)
    assert figures.p95_ms < 1_000
    assert figures.more_mb < 300


def test_the_body_of_a_caller_without_key_is_not_read(closed: httpx.Client) -> None:
    with connect(closed) as client:
        client.sendall(HEAD + b"Content-Length: 8000000\r\n\r\n")  # and not a byte of it
        assert code(read_all(client)) == "401 unauthorized"
    with connect(closed) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert code(read_all(client)) == "401 unauthorized"  # and no 100 before it


def test_a_client_that_sends_its_whole_body_first_reads_the_refusal(closed: httpx.Client) -> None:
    for _ in range(3):
        answer = closed.post("/panoramas", json={"prompt": "x" * (MAX_BODY_BYTES - 100)})
        problem(answer, 401, "unauthorized")


def test_a_body_is_refused_before_it_is_read_whatever_its_path(closed: httpx.Client) -> None:
    for path in ("/livez", "/nowhere", "/uploads"):
        problem(closed.post(path, json={}), 401, "unauthorized")


def test_a_key_that_cannot_be_checked_lets_no_body_in(settings: Settings) -> None:
    cut_off = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    bearer = {"Authorization": "Bearer pw_0123456789abcdef_" + "a" * 43}
    with serving(Settings.model_validate(cut_off.model_dump())) as api:
        answer = api.post("/panoramas", json={"prompt": "a hill"}, headers=bearer)
        problem(answer, 503, "store_unavailable")


def test_a_header_is_bounded_in_bytes(closed: httpx.Client) -> None:
    fits = {"X-Long": "x" * (MAX_HEADER_BYTES - 500)}
    assert closed.get("/livez", headers=fits).status_code == 200
    too_long = {"X-Long": "x" * MAX_HEADER_BYTES}
    answer = httpx.get(f"{closed.base_url}/livez", headers=too_long, timeout=30)
    problem(answer, 431, "header_too_large")
    with connect(closed) as client:
        client.sendall(b"GET /" + b"x" * MAX_HEADER_BYTES)
        assert code(read_all(client)) == "431 header_too_large"


def test_a_header_is_bounded_in_time(closed: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_S", 0.3)
    for sent in (b"", HEAD):
        with connect(closed) as client:
            client.sendall(sent)
            assert code(read_all(client)) == "408 header_too_slow"
    # Also the next header of a connection that has been used.
    with connect(closed) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        assert b"header_too_slow" in read_all(client)


def test_a_body_is_bounded_in_time(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "BODY_TIMEOUT_S", 0.3)
    with connect(api) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert code(read_all(client)) == "408 body_too_slow"


def test_what_is_no_http_is_refused_as_a_problem(api: httpx.Client) -> None:
    with connect(api) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert code(read_all(client)) == "400 malformed_request"


def test_requests_are_not_piled_up_on_one_connection(api: httpx.Client) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(api) as client:
        client.sendall(one * 9 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_all(client).count(b"HTTP/1.1 200") == 10
    with connect(api) as client:
        client.sendall(one * 1_000)
        with suppress(ConnectionResetError):
            assert read_all(client).count(b"HTTP/1.1 200") < 100


def test_unfinished_headers_make_room_for_others(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    with serving(settings.model_copy(update={"max_connections": 16})) as api:
        held = [connect(api) for _ in range(40)]
        for client in held:
            client.sendall(HEAD)
        for _ in range(20):
            assert httpx.get(f"{api.base_url}/livez", timeout=30).status_code == 200
        for client in held:
            client.close()


def test_connections_that_are_at_work_are_kept(
    settings: Settings,
    redis: Redis,  # noqa: ARG001 (emptied)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_work = set()
    work = Connections.work

    def note_and_work(self: Connections, protocol: BoundedHttpProtocol) -> None:
        at_work.add(protocol)
        work(self, protocol)

    monkeypatch.setattr(Connections, "work", note_and_work)
    request = HEAD + b"Content-Length: 100\r\n\r\n{"
    with serving(settings.model_copy(update={"max_connections": 16})) as api:
        held = [connect(api) for _ in range(16)]
        for client in held:
            client.sendall(request)
        wait_until(lambda: len(at_work) == 16, 30)
        with connect(api) as client:
            assert code(read_all(client)) == "503 too_many_connections"
        for client in held:
            client.close()
        wait_until(lambda: httpx.get(f"{api.base_url}/livez", timeout=30).status_code == 200, 30)


def test_all_bodies_together_are_bounded(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    """Half-sent bodies fill the room. Once they are gone, others are read again."""
    asked = {"prompt": "", "metadata": {"x": "x" * 1_000}}
    body = b'{"metadata": "' + b"x" * (MAX_BODY_BYTES - 100)
    head = HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    with serving(settings.model_copy(update={"bodies_max_bytes": MAX_BODY_BYTES})) as api:
        with connect(api) as client:
            client.sendall(head + body)
            wait_until(lambda: api.post("/panoramas", json=asked).status_code == 503, 30)
            answer = api.post("/panoramas", json=asked)
            problem(answer, 503, "too_many_bodies")
            assert int(answer.headers["retry-after"]) > 0
        wait_until(lambda: api.post("/panoramas", json={"prompt": ""}).status_code == 422, 30)


@pytest.mark.parametrize(
    "value",
    [b"[[],[]," * (MAX_BODY_BYTES // 8), b"1" * 4_300 + b"," + (b"1" * 4_300 + b",") * 500],
    ids=["lists", "numbers"],
)
def test_a_body_that_is_slow_to_parse_is_refused(api: httpx.Client, value: bytes) -> None:
    body = b'{"prompt": "a hill", "metadata": [' + value
    answer = api.post("/panoramas", content=body, headers={"Content-Type": "application/json"})
    assert "too many" in problem(answer, 400, "malformed_json")["detail"]


def test_a_large_body_of_text_is_read_whatever_it_quotes(api: httpx.Client) -> None:
    text = '\\"{[,:' * 15_000 + "x" * 1_000_000
    answer = api.post("/panoramas", json={"prompt": text})
    assert problem(answer, 422, "invalid_params")["errors"][0]["field"] == "prompt"


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_encoded_bodies_are_refused(api: httpx.Client, encoding: str) -> None:
    answer = api.post(
        "/panoramas", json={"prompt": "a hill"}, headers={"Content-Encoding": encoding}
    )
    assert "Content-Encoding" in problem(answer, 415, "unsupported_media_type")["detail"]
    assert answer.headers["accept-encoding"] == "identity"
    twice = [("Content-Encoding", "identity"), ("Content-Encoding", encoding)]
    answer = api.post("/panoramas", json={"prompt": "a hill"}, headers=twice)
    problem(answer, 415, "unsupported_media_type")
    plain = {"Content-Encoding": "identity"}
    assert api.post("/panoramas", json={"prompt": "x"}, headers=plain).status_code == 202


def test_the_api_runs_with_its_bounds(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    """As `panoweave api` starts it; with a key its answer is as always."""
    _, token = ApiKeys(redis).create("ada", ("write",))
    port = free_port()
    log = tmp_path / "api.log"
    with process("api", settings.model_copy(update={"port": port}), log):
        url = f"http://127.0.0.1:{port}"

        def is_alive() -> bool:
            try:
                return httpx.get(f"{url}/livez", timeout=30).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_alive, 60, log)
        answer = httpx.get(f"{url}/livez", headers={"X-Long": "x" * MAX_HEADER_BYTES}, timeout=30)
        problem(answer, 431, "header_too_large")
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/panoramas", headers=bearer, timeout=30).status_code == 200
        problem(httpx.get(f"{url}/panoramas", timeout=30), 401, "unauthorized")
