"""`panoweave up`: the whole stack, and what happens to it when parts of it die."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from panoweave.deploy.local.ports import LOOPBACK, free_port
from tests.deploy.stack import Cli, RunningStack, is_alive
from tests.processes import wait_until

PARTS = {"redis", "s3", "janitor", "worker", "api"}


def test_a_panorama_comes_back_over_http(stack: RunningStack) -> None:
    job = stack.make_panorama()
    assert job["status"] == "succeeded", job
    picture = stack.http.get(f"/panoramas/{job['id']}/image")
    assert picture.content.startswith(b"\x89PNG")
    assert "panoweave is up" in stack.said()
    assert f"studio  {stack.http.base_url}/" in stack.said()
    assert f"curl -s {stack.state().api_url}/panoramas" in stack.said()


def test_a_killed_worker_comes_back_and_works(stack: RunningStack) -> None:
    killed = stack.state().children["worker"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: stack.state().children.get("worker", killed) != killed, 30, stack.said)
    assert "worker was ended by SIGKILL" in stack.said()
    assert stack.make_panorama()["status"] == "succeeded"


def test_a_second_stack_on_the_same_data_is_refused(stack: RunningStack, cli: Cli) -> None:
    done = cli("up", "--data", str(stack.home.root))
    assert done.returncode == 1
    assert stack.state().api_url in done.stderr
    assert "--data" in done.stderr


def test_a_taken_port_is_named_before_anything_starts(cli: Cli, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("up", "--data", str(tmp_path / "var"), "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert not (tmp_path / "var" / "logs").exists()


@pytest.mark.slow
def test_stopped_or_killed_it_leaves_no_process_and_keeps_the_jobs(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    first = RunningStack(tmp_path / "var", tiny_checkpoint)
    job = first.make_panorama()
    picture = first.http.get(f"/panoramas/{job['id']}/image").content
    answer = first.http.get(f"/panoramas/{job['id']}/image", follow_redirects=False)
    link = answer.headers["location"]
    children = first.state().children
    assert set(children) == PARTS
    # A second request to stop need not wait for a process that is frozen.
    os.kill(children["janitor"], signal.SIGSTOP)
    first.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "waiting for janitor to end" in first.said(), 60, first.said)
    assert first.stop(signal.SIGTERM, timeout_s=30) == 0, first.said()
    assert "janitor was still busy" in first.said()
    assert "supervisor.py" in (first.home.logs / "up.stacks.log").read_text()
    assert not [name for name, pid in children.items() if is_alive(pid)]
    assert first.home.running() is None

    # A proxy that nobody listens on: what runs on this machine is not asked for through it.
    proxies = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "some.example"}
    second = RunningStack(
        tmp_path / "var", tiny_checkpoint, wait_for="api", host="127.0.0.2", **proxies
    )
    assert second.state().api_url == f"http://127.0.0.2:{second.port}"
    assert httpx.get(link, timeout=30).content == picture  # it is good for an hour
    assert second.http.get(f"/panoramas/{job['id']}/image").content == picture
    children = second.state().children
    second.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in children.values()), 30)

    third = RunningStack(tmp_path / "var", tiny_checkpoint, wait_for="api")
    assert third.http.get(f"/panoramas/{job['id']}").json()["status"] == "succeeded"
    assert third.http.get(f"/panoramas/{job['id']}/image").content == picture
    children = third.state().children
    assert third.stop(signal.SIGTERM) == 0, third.said()
    assert not [name for name, pid in children.items() if is_alive(pid)]


def test_a_stop_during_the_start_is_not_kept_waiting(tmp_path: Path, tiny_checkpoint: Path) -> None:
    starting = RunningStack(tmp_path / "var", tiny_checkpoint, wait_for="nothing")
    wait_until((starting.home.logs / "redis.log").exists, 30, starting.said)
    assert starting.stop(signal.SIGTERM, timeout_s=30) == 0, starting.said()
    assert "panoweave is up" not in starting.said()


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_start_with_the_reason(
    cli: Cli, tmp_path: Path
) -> None:
    empty = tmp_path / "empty-model"
    empty.mkdir()
    done = cli(
        "up",
        "--data",
        str(tmp_path / "var"),
        "--port",
        str(free_port()),
        timeout_s=180,
        PANOWEAVE_MODEL=str(empty),
    )
    assert done.returncode == 1
    assert str(empty) in done.stderr
    assert "panoweave doctor" in done.stderr
