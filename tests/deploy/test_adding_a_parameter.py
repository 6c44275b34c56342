"""docs/contributing/add-a-parameter.md, followed in a copy of the code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from panoweave.core.infra.settings import Settings
from tests.deploy.stack import environment
from tests.service.server import publish_model

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "service", "worker", "deploy")
RECIPE = ROOT / "docs/contributing/add-a-parameter.md"

# Posts to the API of the copy, on the test's Redis; prints answers and contract.
API = """
import json, sys
from fastapi.testclient import TestClient
from panoweave.core.infra.settings import Settings
from panoweave.service.app import create_app
from panoweave.service.openapi import examples
with TestClient(create_app(Settings(anonymous="loopback")), base_url="http://localhost") as api:
    post = lambda **fields: api.post("/panoramas", json={"prompt": "a lake", **fields}).json()
    print(json.dumps({
        "asked": post(brightness=0.5)["params"],
        "default": post()["params"],
        "refused": post(brightness=3),
        "schemas": api.get("/openapi.json").json()["components"]["schemas"],
        "example": examples.REQUESTS["complete"]["value"],
    }))
"""


def field_of_the_recipe() -> str:
    """The field as the recipe shows it, indented as in its class."""
    _, _, code = RECIPE.read_text().partition("class PanoramaParams(Params):\n")
    return code.partition("```")[0]


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} in {file}"
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with one more parameter: two places are patched, and nothing else."""
    root = tmp_path_factory.mktemp("copy")
    package = root / "panoweave"
    package.mkdir()
    shutil.copy(ROOT / "panoweave/__init__.py", package)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "training")
        shutil.copytree(ROOT / name, package / name, ignore=ignored)
    output = "    output: Output = Output()\n"
    replace(package / "core/params.py", output, field_of_the_recipe() + output)
    saved = "    panorama.image.save(buffer, output.format, **options)\n"
    replace(
        package / "core/diffusion/image_files.py",
        saved,
        "    from PIL import ImageEnhance\n"
        "    bright = ImageEnhance.Brightness(panorama.image)\n"
        "    image = bright.enhance(panorama.params.brightness)\n"
        + saved.replace("panorama.image", "image"),
    )
    return root


def run(copy: Path, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment(PYTHONPATH=str(copy), **env),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_copy_is_what_runs(copy: Path) -> None:
    place = run(copy, "-c", "import panoweave.core.params as it; print(it.__file__)")
    assert Path(place.strip()).is_relative_to(copy)


def test_it_is_an_option_of_render(copy: Path) -> None:
    said = " ".join(run(copy, "-m", "panoweave.deploy.cli", "render", "--help").split())
    expected = "--brightness <float> Brightness of the picture; 1 leaves it as it is. Default: 1.0."
    assert expected in said


def test_the_api_takes_documents_and_reports_it(
    copy: Path, redis: Redis, settings: Settings
) -> None:
    publish_model(redis)
    url = settings.redis_url.get_secret_value()
    seen = json.loads(run(copy, "-c", API, PANOWEAVE_REDIS_URL=url))
    assert seen["asked"]["brightness"] == 0.5
    assert seen["default"]["brightness"] == 1
    (refused,) = seen["refused"]["errors"]
    assert (refused["field"], refused["legal"]) == (
        "brightness",
        "a number from 0 to 2 or null",
    )
    for schema in ("PanoramaRequest", "ResolvedParams"):
        documented = seen["schemas"][schema]["properties"]["brightness"]
        documented |= documented.pop("anyOf", [{}])[0]  # a request may send null
        assert (documented["minimum"], documented["maximum"]) == (0, 2)
        assert documented["description"].startswith("Brightness")
    assert seen["example"]["brightness"] == 1


@pytest.mark.slow
def test_its_consumer_uses_it(copy: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "dark.png"
    options = ("--steps", "1", "--width", "64", "--brightness", "0")
    run(
        copy,
        *("-m", "panoweave.deploy.cli", "render", "a lake", "-o", str(output), *options),
        PANOWEAVE_MODEL=str(tiny_checkpoint),
    )
    with Image.open(output) as image:
        assert image.getextrema() == ((0, 0),) * 3
        assert '"brightness":0.0' in image.info["panoweave"]
