"""The programs of docs/clients.md run as they stand, on a tiny model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from panoweave_client import Panoweave, verify_webhook
from panoweave_client.answers import WebhookMessage
from panoweave_client.requests import WebhookRequest
from tests.deploy.examples.service import Service
from tests.deploy.pages import API, ROOT, Page
from tests.processes import wait_until
from tests.receivers import Receiver, receiving
from tests.typescript import Project, built

PAGE: Final = Page(ROOT / "docs/clients.md")
PYTHON: Final = PAGE.texts("python")
NODE: Final = PAGE.texts("js")


def run_python(program: str, service: Service, folder: Path, steps: int = 2) -> str:
    """What it printed. Its panoramas are as small as a tiny model's can be."""
    program = program.replace(API, service.url).replace(", width=1536", "")
    if "steps=" not in program:
        program = program.replace("(prompt=", f"(steps={steps}, width=128, prompt=")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env=service.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, program + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built(tmp_path_factory.mktemp("node"))


def run_node(program: str, service: Service, node: Project, folder: Path) -> str:
    program = program.replace(API, service.url).replace(", width: 1536", "")
    # The first panorama; another one that the page shows is refused.
    program = program.replace("{ prompt:", "{ steps: 2, width: 128, prompt:", 1)
    return node.run(program, service.environment(), folder)


def program(containing: str) -> str:
    (found,) = [text for text in PYTHON if containing in text]
    return found


def test_the_first_lines_make_a_picture(service: Service, tmp_path: Path) -> None:
    assert len(PYTHON[0].replace("\n\n", "\n").splitlines()) <= 5
    assert run_python(PYTHON[0], service, tmp_path) == "lake.png\n"
    with Image.open(tmp_path / "lake.png") as picture:
        assert picture.size == (128, 64)
    # An upload of it, as the page goes on.
    assert "key='" in run_python(program("upload("), service, tmp_path)


@pytest.mark.slow
def test_a_panorama_is_followed(service: Service, tmp_path: Path) -> None:
    *seen, ended = run_python(program("panoweave.watch("), service, tmp_path).splitlines()
    assert any("%" in line for line in seen)
    assert ended.startswith("succeeded 128 ")


@pytest.mark.slow
def test_cancelled_ones_are_listed_and_deleted(service: Service, tmp_path: Path) -> None:
    assert run_python(program("panoweave.cancel("), service, tmp_path, steps=250)
    with service.http() as http:
        assert http.get("/panoramas?status=cancelled").json()["items"] == []


@pytest.mark.slow
def test_a_refusal_is_explained(service: Service, tmp_path: Path) -> None:
    said = run_python(program("except ApiError"), service, tmp_path)
    assert said.startswith("422 invalid_params\nsteps ")
    assert "a whole number from 1 to 250" in said


@pytest.mark.slow
def test_two_are_made_side_by_side(service: Service, tmp_path: Path) -> None:
    run_python(program("asyncio.gather"), service, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a lake.png", "a hill.png"}


@pytest.mark.slow
def test_the_first_lines_make_a_picture_in_node(
    service: Service, node: Project, tmp_path: Path
) -> None:
    assert len(NODE[0].replace("\n\n", "\n").splitlines()) <= 5
    assert run_node(NODE[0], service, node, tmp_path) == "lake.png\n"
    with Image.open(tmp_path / "lake.png") as picture:
        assert picture.size == (128, 64)


@pytest.mark.slow
def test_a_panorama_is_followed_in_node(service: Service, node: Project, tmp_path: Path) -> None:
    (program,) = NODE[1:]
    *seen, status, refused = run_node(program, service, node, tmp_path).splitlines()
    assert seen[0].startswith("created")
    assert any(line.startswith("progress ") for line in seen)
    assert status == "succeeded"
    assert refused.startswith("invalid_params steps a whole number from 1 to 250")


def test_real_webhooks_are_verified(service: Service) -> None:
    webhook: WebhookRequest = {
        "url": "",
        "events": ["panorama.started", "panorama.progress", "panorama.succeeded"],
    }
    with receiving() as receiver, Panoweave(service.url, service.api_key) as client:
        webhook["url"] = receiver.url
        client.make(prompt="a lake", width=128, steps=2, webhook=webhook, metadata={"order": 7})
        ended = "panorama.succeeded"
        wait_until(lambda: ended in [each.type for each in verified(receiver, service)], 30)
    messages = {each.type: each.data for each in verified(receiver, service)}
    result = messages[ended].result
    assert result is not None
    assert (result.width, messages[ended].metadata) == (128, {"order": 7})
    # The document names all that a webhook holds.
    for data in messages.values():
        for part in (data, data.progress, data.result):
            assert part is None or not part.model_extra


def verified(receiver: Receiver, service: Service) -> list[WebhookMessage]:
    secret = service.webhook_secret
    messages = [verify_webhook(each.body, each.headers, secret) for each in receiver.received]
    return [each for each in messages if isinstance(each, WebhookMessage)]
