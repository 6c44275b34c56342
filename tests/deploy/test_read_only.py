"""The processes write nowhere but to the volumes that the chart gives them."""

from __future__ import annotations

import base64
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.ports import free_port
from tests.deploy.chart.render import Document, containers, of_kind
from tests.processes import environment_of, wait_until

HOME = "/home/panoweave"


def volumes(command: str) -> list[str]:
    """Where the chart mounts something that may be written to."""
    [container] = [
        each
        for document in of_kind("cpu-demo", "Deployment")
        for each in containers(document)
        if each["name"] == command
    ]
    mounts: list[Document] = container["volumeMounts"]
    return [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]


def confined(command: str, checkpoint: Path) -> list[str]:
    """The command among read-only files, with the checkpoint at /mnt."""
    lines = [
        "mount --make-rprivate /",
        f"mount --bind {shlex.quote(str(checkpoint))} /mnt",
        "mount -t tmpfs tmpfs /home",
        f"mkdir -p {HOME}/.cache",
        *(f"mount -t tmpfs tmpfs {place}" for place in volumes(command)),
        "mount -o remount,ro /home",
        "mount -o remount,ro,bind /",
        f"if touch {HOME}/x 2>/dev/null || touch /etc/x 2>/dev/null; then exit 9; fi",
        'exec "$@"',
    ]
    python = [sys.executable, "-P", "-m", "panoweave.deploy.cli", command]
    return ["unshare", "--mount", "sh", "-ec", "\n".join(lines), "sh", *python]


@contextmanager
def running(command: str, settings: Settings, checkpoint: Path, log: Path) -> Iterator[None]:
    environment = environment_of(settings) | {"HOME": HOME}
    with log.open("ab") as output:
        child = subprocess.Popen(
            confined(command, checkpoint), env=environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


@pytest.mark.slow
def test_no_process_writes_elsewhere(
    settings: Settings, redis: Redis, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """A panorama with a picture of its own, by all three processes."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    if hidden := [place for place in volumes("worker") if Path(sys.prefix).is_relative_to(place)]:
        pytest.skip(f"the environment lies in {hidden[0]}, where the chart mounts a volume")
    redis.flushall()
    port = free_port()
    here = settings.model_copy(
        update={"model": "/mnt", "device": "cpu", "port": port, "anonymous": "loopback"}
    )
    logs = {name: tmp_path / f"{name}.log" for name in ("api", "worker", "janitor")}
    picture = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(picture, "PNG")
    asked = {
        "prompt": "a lake",
        "width": 128,
        "steps": 2,
        "anchor_image": {"base64": base64.b64encode(picture.getvalue()).decode()},
    }
    with (
        ExitStack() as stack,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        for name, log in logs.items():
            stack.enter_context(running(name, here, tiny_checkpoint, log))
        wait_until(lambda: b"ready: model" in logs["worker"].read_bytes(), 90, logs["worker"])
        answer = client.post("/panoramas", json=asked, headers={"Prefer": "wait=60"}, timeout=70)
        assert answer.json().get("status") == "succeeded", answer.text
    for log in logs.values():
        text = log.read_text()
        assert "Read-only file system" not in text
        assert "Permission denied" not in text
