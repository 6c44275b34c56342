"""The studio's files: for everyone, from this server only, as they came from npm. The journeys in a
browser are in tests/deploy/studio."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.deploy.vendor_studio import LIBRARIES, MANIFEST
from tests.service.checks import problem
from tests.service.server import serving

ROOT = Path(__file__).parents[2]
FILES = ROOT / "service/studio/static"
PERMISSIVE = {"MIT", "BSD-3-Clause"}


@pytest.fixture
def closed(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:  # noqa: ARG001
    with serving(settings.model_copy(update={"anonymous": "off"})) as api:
        yield api


def test_the_page_needs_no_key_and_data_does(closed: httpx.Client) -> None:
    page = closed.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in re.findall(r'(?:src|href)="(studio/[^"#]+)', page.text):
        file = closed.get(f"/{path}")
        assert file.status_code == 200, path
        assert file.headers["cache-control"] == "no-cache"
        assert file.headers["x-content-type-options"] == "nosniff"
    problem(closed.get("/models"), 401, "unauthorized")


def test_head_answers_too(bare_api: httpx.Client) -> None:
    for path in ("/", "/studio/js/main.js"):
        get, head = bare_api.get(path), bare_api.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["content-security-policy"] == get.headers["content-security-policy"]


def test_the_policy_allows_this_server_only(bare_api: httpx.Client) -> None:
    answer = bare_api.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    # A 304 would bring the policy of data, and browsers keep the newest headers.
    again = bare_api.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["content-security-policy"]) == (200, policy)


def test_an_unchanged_file_is_not_sent_again(bare_api: httpx.Client) -> None:
    path = "/studio/vendor/three/three.core.min.js"
    etag = bare_api.head(path).headers["etag"]
    assert bare_api.get(path, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    "path", ["/studio", "/studio/", "/studio/nothing.js", "/studio/%2e%2e/routes.py", "/studio/js"]
)
def test_there_is_nothing_else(bare_api: httpx.Client, path: str) -> None:
    problem(bare_api.get(path), 404, "unknown_path")


def test_other_hosts_are_refused(bare_api: httpx.Client) -> None:
    for path in ("/", "/studio/js/main.js"):
        problem(bare_api.get(path, headers={"Host": "evil.example"}), 421, "wrong_host")
    problem(bare_api.post("/"), 405, "method_not_allowed")


def test_libraries_are_as_they_came_from_npm() -> None:
    entries = json.loads((FILES / "vendor" / MANIFEST).read_text())
    assert [each["integrity"] for each in entries] == [each.integrity for each in LIBRARIES]
    known = {MANIFEST}
    for entry, library in zip(entries, LIBRARIES, strict=True):
        assert entry["licence"] in PERMISSIVE
        assert set(entry["files"]) == set(library.files.values())
        assert any("LICENSE" in name for name in entry["files"])
        for name, digest in entry["files"].items():
            content = (FILES / "vendor" / name).read_bytes()
            assert f"sha256-{hashlib.sha256(content).hexdigest()}" == digest, name
            known.add(name)
    there = {str(file.relative_to(FILES / "vendor")) for file in _files(FILES / "vendor")}
    assert there == known


@pytest.mark.slow
def test_the_wheel_holds_all_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in _files(FILES):
        assert f"panoweave/service/studio/static/{file.relative_to(FILES)}" in names


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
