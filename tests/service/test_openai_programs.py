"""The programs of docs/how-to/openai.md, with OpenAI's official packages for Python and Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from tests.service.documentation import documented
from tests.service.painter import paint_in_steps, painting
from tests.service.steps import PICTURE

PAGE = "openai.md"
TENANT = "ada"
NODE_PACKAGE = "openai@6.49.0"
NODE_INTEGRITY = "sha512-aYCc0C6L864eR6WSYIwQGyXriw/nIyZx0ObvhzOEVuk0zoBDpynjSbrionWI7q65B5H8jJX0DXR9snEzM6bfPg=="  # noqa: E501


@pytest.fixture
def token(api: httpx.Client, redis: Redis) -> str:  # noqa: ARG001
    return ApiKeys(redis).create(TENANT, ("write",))[1]


def program(language: str, containing: str, api: httpx.Client, token: str) -> str:
    source = documented(language, containing, PAGE)
    return source.replace("http://127.0.0.1:8000", str(api.base_url)).replace("pw_...", token)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_python(
    api: httpx.Client, token: str, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    source = program("python", "base_url", api, token)
    with_key = program("python", "Idempotency-Key", api, token)
    with painting(store, objects):
        assert run([sys.executable, "-c", source + 2 * with_key], tmp_path) == "1536x256\n"
    assert (tmp_path / "panorama.png").read_bytes() == PICTURE
    waited_for, first = store.list(TENANT).records
    assert (first.params.seed, waited_for.params.width) == (7, 768)


def test_in_anonymous_mode_no_key_is_sent(
    api: httpx.Client, store: JobStore, objects: ObjectStore, settings: Settings
) -> None:
    assert settings.anonymous == "loopback"
    with (
        painting(store, objects, tenant="default"),
        openai.OpenAI(
            base_url=f"{api.base_url}/v1", api_key="none", default_headers={"Authorization": ""}
        ) as client,
    ):
        assert client.images.generate(prompt="a hill").data


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a program finds the package."""
    if shutil.which("npm") is None:
        assert "CI" not in os.environ, "CI has Node and npm"
        pytest.skip("no npm here; on Debian: apt install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run(["npm", "install", "--silent", "--no-audit", "--ignore-scripts", NODE_PACKAGE], folder)
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages["node_modules/openai"]["integrity"] == NODE_INTEGRITY
    return folder


@pytest.mark.slow
def test_in_node(
    api: httpx.Client,
    token: str,
    store: JobStore,
    objects: ObjectStore,
    node_folder: Path,
    looks: list[int],
) -> None:
    (node_folder / "program.js").write_text(program("js", "baseURL", api, token))
    with painting(store, objects, lambda job: paint_in_steps(store, objects, job, looks)):
        said = run(["node", "program.js"], node_folder)
    assert said == "partial-0.jpg\npartial-1.jpg\npanorama.png\n"
    assert (node_folder / "panorama.png").read_bytes() == PICTURE
    assert (node_folder / "partial-1.jpg").read_bytes().startswith(b"preview")


_IN_NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: process.argv[2] });
const said = [];
for await (const model of client.models.list()) said.push(model.id);
const asked = { prompt: "a hill", n: 2, response_format: "url", size: "384x128" };
const answer = await client.images.generate(asked);
said.push(answer.size, answer.data.map((each) => typeof each.url));
const refused = async (request, from = client) => {
  try {
    await from.images.generate(request);
  } catch (error) {
    said.push([error.constructor.name, error.status, error.code, error.param]);
  }
};
await refused({ prompt: "a hill", size: "700x128" });
await refused({ prompt: "a hill", quality: "hd" });
await refused({ prompt: "a hill" }, client.withOptions({ apiKey: "sk-1234" }));
const anonymous = { defaultHeaders: { Authorization: null } };
await refused({ prompt: "a hill" }, client.withOptions(anonymous));
console.log(JSON.stringify(said));
"""


@pytest.mark.slow
def test_in_node_lists_urls_and_errors(
    api: httpx.Client, token: str, store: JobStore, objects: ObjectStore, node_folder: Path
) -> None:
    source = _IN_NODE.replace("http://127.0.0.1:8000", str(api.base_url))
    (node_folder / "more.js").write_text(source)
    with painting(store, objects):
        said = json.loads(run(["node", "more.js", token], node_folder))
    assert said == [
        "embedded",
        "384x128",
        ["string", "string"],
        ["BadRequestError", 400, "invalid_params", "size"],
        ["BadRequestError", 400, "invalid_params", "quality"],
        ["AuthenticationError", 401, "unauthorized", None],
        # Anonymous mode has ended with the key above.
        ["AuthenticationError", 401, "unauthorized", None],
    ]
