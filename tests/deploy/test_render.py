"""`panoweave render` on a tiny model: the same core, without queue and servers."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.deploy.conftest import Cli


def test_render_writes_the_same_picture_for_the_same_seed(
    cli: Cli, tiny_model: Path, tmp_path: Path
) -> None:
    pictures = []
    for name in ("a.png", "b.png"):
        options = ["--seed", "7", "--steps", "2", "--width", "128"]
        done = cli(
            "render",
            "a lake",
            "-o",
            str(tmp_path / name),
            *options,
            timeout_s=120,
            PANOWEAVE_MODEL=str(tiny_model),
        )
        assert done.returncode == 0, done.stderr
        assert "128 x 64 px, seed 7" in done.stdout
        assert "Intra-LPIPS" in done.stdout
        pictures.append(Image.open(tmp_path / name))
    assert pictures[0].size == (128, 64)
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_a_size_that_does_not_fit_names_the_option_and_the_nearest(
    cli: Cli, tiny_model: Path, tmp_path: Path
) -> None:
    done = cli(
        "render",
        "a lake",
        "-o",
        str(tmp_path / "x.png"),
        "--width",
        "130",
        timeout_s=120,
        PANOWEAVE_MODEL=str(tiny_model),
    )
    assert done.returncode == 2
    assert "--width" in done.stderr
    assert "128 or 144" in done.stderr


def test_a_model_that_is_not_there_is_named(cli: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    done = cli("render", "a", "-o", str(tmp_path / "x.png"), PANOWEAVE_MODEL=str(missing))
    assert done.returncode == 1
    assert f"there is no directory {missing}" in done.stderr
