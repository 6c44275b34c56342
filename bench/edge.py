"""What attackers without a key cost the API: `python -m bench.edge`.

Each attack runs against a `panoweave api` of its own while `GET /livez` is asked for. The table
shows how long `/livez` took, and how much memory the process took more than before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from panoweave.deploy.local.ports import LOOPBACK, free_port
from panoweave.deploy.local.servers import RedisServer

_MB: Final = 10**6
_BODY: Final = 8 * 2**20
_HEAD: Final = b"POST /panoramas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_LOOK_EVERY_S: Final = 0.02

Attack = Callable[[int], Awaitable[object]]


class Figures(NamedTuple):
    p50_ms: float
    p95_ms: float
    most_ms: float
    more_mb: float  # resident memory at its highest, less that before


async def quiet(_port: int) -> None:
    """No attack: what the machine itself takes."""
    await asyncio.sleep(3)


async def nested_lists(port: int) -> None:
    """Bodies of 8 MiB with as many values as fit."""
    body = (b"[[],[]," * (_BODY // 7 + 1))[:_BODY]
    await _several(4, port, _HEAD + b"Content-Length: %d\r\n\r\n" % _BODY + body)


async def one_byte_short(port: int) -> None:
    """200 bodies of 8 MiB, each without its last byte."""
    head = _HEAD + b"Content-Length: %d\r\n\r\n" % _BODY
    await _several(200, port, head + b" " * (_BODY - 1))


async def huge_header(port: int) -> None:
    """One header of 300 MB."""
    part = b"x" * 2**20
    await _send(port, [_HEAD + b"X: ", *[part] * 300])


async def half_headers(port: int) -> None:
    """400 connections that never finish their header."""
    await _several(400, port, _HEAD)


async def requests_without_key(port: int) -> None:
    """16 clients that post small requests as fast as they can."""
    body = b'{"prompt": "a lake"}'
    one = _HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def flood() -> None:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            await _send(port, [one], wait_s=2)

    await asyncio.gather(*(flood() for _ in range(16)))


ATTACKS: Final[tuple[Attack, ...]] = (
    quiet,
    nested_lists,
    one_byte_short,
    huge_header,
    half_headers,
    requests_without_key,
)


async def _several(count: int, port: int, data: bytes) -> None:
    await asyncio.gather(*(_send(port, [data]) for _ in range(count)))


async def _send(port: int, parts: list[bytes], wait_s: float = 3) -> bytes:
    """The answer to what is sent, if one comes in time. The connection stays open until then."""
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            async with asyncio.timeout(wait_s):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                answer = await reader.read(4_096)
                if not answer.startswith(b"HTTP/1.1 4"):
                    await asyncio.sleep(wait_s)
        finally:
            writer.close()
    return answer


@contextmanager
def serving() -> Iterator[tuple[int, int]]:
    """The port and the process id of an API that asks for keys."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), Path(folder)) as redis:
        port = free_port()
        environment = os.environ | {
            "PANOWEAVE_REDIS_URL": redis.url,
            "PANOWEAVE_PORT": str(port),
            "PANOWEAVE_LOG_LEVEL": "WARNING",
            "PANOWEAVE_S3_ACCESS_KEY_ID": "none",
            "PANOWEAVE_S3_SECRET_ACCESS_KEY": "none",
        }
        command = [sys.executable, "-P", "-m", "panoweave.deploy.cli", "api"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as api:
            try:
                _wait_until_alive(port)
                yield port, api.pid
            finally:
                api.send_signal(signal.SIGTERM)


def _wait_until_alive(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{LOOPBACK}:{port}/livez")
            return
        time.sleep(0.1)
    raise TimeoutError("the API did not start")


def measure(attack: Attack, port: int, pid: int) -> Figures:
    """The attack in a process of its own, so that it does not slow down who asks for /livez."""
    before = _resident_bytes(pid)
    command = [sys.executable, "-m", "bench.edge", attack.__name__, str(port)]
    took_s, most = [], before
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=60) as client:
        client.get("/livez")
        with subprocess.Popen(command) as attacker:
            while attacker.poll() is None:
                begun = time.monotonic()
                client.get("/livez").raise_for_status()
                took_s.append(time.monotonic() - begun)
                most = max(most, _resident_bytes(pid))
                time.sleep(_LOOK_EVERY_S)
    p95 = statistics.quantiles(took_s, n=20)[-1]
    return Figures(
        p50_ms=1_000 * statistics.median(took_s),
        p95_ms=1_000 * p95,
        most_ms=1_000 * max(took_s),
        more_mb=(most - before) / _MB,
    )


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str]) -> None:
    by_name = {attack.__name__: attack for attack in ATTACKS}
    if len(arguments) == 2:
        asyncio.run(by_name[arguments[0]](int(arguments[1])))  # type: ignore[arg-type]
        return
    print("| attack | /livez p50, ms | p95, ms | longest, ms | more memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in arguments or by_name:
        with serving() as (port, pid):
            figures = measure(by_name[name], port, pid)
        cells = " | ".join(f"{figure:.0f}" for figure in figures)
        print(f"| {(by_name[name].__doc__ or '').rstrip('.')} | {cells} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
