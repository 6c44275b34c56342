"""examples/client.py: creates a panorama once, waits, and saves the picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.deploy.examples.service import Service
from tests.service.client.cutting import cutting


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
    with service.http() as api, cutting(api, [0]) as url:
        arguments = ("a lake", "--width", "128", "--steps", "2")
        done = service.run("client.py", *arguments, cwd=tmp_path, PANOWEAVE_URL=url)
    assert done.returncode == 0, done.stderr
    assert len(service.panoramas()) == before + 1
