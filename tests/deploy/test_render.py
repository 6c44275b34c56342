"""`panoweave render` on a tiny model: the same core, without queue and servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from safetensors.torch import load_file, save_file
from torch import Tensor, ones

from panoweave.deploy import render
from tests.deploy.stack import Cli


def test_render_writes_the_same_picture_for_the_same_seed(
    cli: Cli, cli_here: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """In whichever process."""
    pictures = []
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    options = ["--seed", "7", "--steps", "2", "--width", "128"]
    for run, name in ((cli, "a.png"), (cli_here, "b.png")):
        output = str(folder / name)
        done = run("render", "a lake", "-o", output, *options, PANOWEAVE_MODEL=str(tiny_checkpoint))
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if output in line]  # however long
        assert "128 x 64 px, seed 7, made in" in line
        assert "Intra-LPIPS" in done.stdout
        pictures.append(Image.open(folder / name))
    assert pictures[0].size == (128, 64)
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_render_takes_a_whole_request_from_a_file(
    cli_here: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """A picture by its file. Options overrule the file field by field, also within `sync`."""
    given = Image.radial_gradient("L").convert("RGB").resize((64, 64))
    given.save(tmp_path / "picture.png")
    request = {
        "prompt": "a lake",
        "sync": {"weight": 9, "decay": 0.5},
        "width": 192,
        "seed": 3,
        "steps": 1,
        "loop": True,
        "extend": {"image": {"file": str(tmp_path / "picture.png")}, "x": 64},
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    options = ["-o", str(tmp_path / "x.webp"), "--params", str(tmp_path / "request.json")]
    done = cli_here(
        "render",
        *options,
        *("--seed", "7", "--sync-weight", "3", "--no-sync-reuse-prediction", "--sync-anchor", "1"),
        PANOWEAVE_MODEL=str(tiny_checkpoint),
    )
    assert done.returncode == 0, done.stderr
    assert "192 x 64 px, seed 7" in done.stdout
    with Image.open(tmp_path / "x.webp") as made:
        assert made.format == "WEBP"
        comment = made.getexif().get_ifd(IFD.Exif)[Base.UserComment]
    params = json.loads(comment.removeprefix(b"ASCII\0\0\0"))
    assert params["prompt"] == "a lake"
    assert (params["sync"]["weight"], params["sync"]["decay"]) == (3, 0.5)
    assert (params["sync"]["anchor"], params["sync"]["reuse_prediction"]) == (1, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"anchor_image": {"file": "/nowhere/x.png"}}', "cannot read /nowhere/x.png"),
        ('{"widht": 3}', "widht: There is no such field; legal: the fields prompt,"),
        ('{"webhook": null}', "webhook: There is no such field"),
        ('{"regions": [{"prompt": ""}]}', "regions.0.prompt"),
        ('{"output": {"format": "webp"}}', "is not a file of the output.format 'webp'"),
    ],
)
def test_a_request_file_that_cannot_be_used_is_refused(
    cli_here: Cli, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "request.json").write_text(text)
    options = ["-o", str(tmp_path / "x.png"), "--params", str(tmp_path / "request.json")]
    done = cli_here("render", "a lake", *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_file_that_cannot_be_written_is_named_before_anything_is_made(
    cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_load", lambda _: pytest.fail("the model was loaded"))
    (tmp_path / "folder.png").mkdir()
    for output, said in (
        (tmp_path / "folder.png", "is a directory"),
        (tmp_path / f"{'x' * 300}.png", "File name too long"),
        (Path("/proc/x.png"), "cannot be written"),
        (tmp_path / "missing" / "x.png", "there is no directory"),
    ):
        done = cli_here("render", "a lake", "-o", str(output))
        assert done.returncode == 2
        assert said in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_a_gpu_that_is_not_there_is_one_line(
    cli_here: Cli, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    wanted = {"PANOWEAVE_MODEL": str(tiny_checkpoint), "PANOWEAVE_DEVICE": "cuda:63"}
    done = cli_here("render", "a lake", "-o", str(tmp_path / "x.png"), **wanted)
    assert done.returncode == 1
    assert "the device cuda:63 was asked for" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_size_that_does_not_fit_names_the_option_and_the_nearest(
    cli_here: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    done = cli_here(
        "render",
        "a lake",
        "-o",
        str(tmp_path / "x.png"),
        "--width",
        "130",
        PANOWEAVE_MODEL=str(tiny_checkpoint),
    )
    assert done.returncode == 2
    assert "--width" in done.stderr
    assert "128 or 144" in done.stderr


def test_a_model_that_is_not_there_is_named(cli_here: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    done = cli_here("render", "a", "-o", str(tmp_path / "x.png"), PANOWEAVE_MODEL=str(missing))
    assert done.returncode == 1
    assert f"there is no directory {missing}" in done.stderr


def test_render_uses_loras_and_says_which(
    cli_here: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    names = load_file(tiny_checkpoint / "unet/diffusion_pytorch_model.safetensors")
    layers = {name: each for name, each in names.items() if name.endswith("attn1.to_q.weight")}
    lora: dict[str, Tensor] = {}
    for name, weight in layers.items():
        key, (out, into) = f"unet.{name.removesuffix('.weight')}", weight.shape
        lora |= {f"{key}.lora_A.weight": ones(1, into), f"{key}.lora_B.weight": ones(out, 1)}
    save_file(lora, tmp_path / "ink.safetensors")
    (tmp_path / "request.json").write_text('{"loras": [{"name": "ink", "scale": 0.5}]}')
    environment = {
        "PANOWEAVE_MODEL": str(tiny_checkpoint),
        "PANOWEAVE_LORAS": json.dumps({"ink": {"source": str(tmp_path / "ink.safetensors")}}),
    }
    options = ["a lake", "--width", "128", "--steps", "1", "-o", str(tmp_path / "x.png")]
    file = ["--params", str(tmp_path / "request.json")]
    done = cli_here("render", *options, *file, **environment)
    assert done.returncode == 0, done.stderr
    assert "LoRA ink, scale 0.5" in done.stdout
    with Image.open(tmp_path / "x.png") as made:
        params = json.loads(made.text["panoweave"])  # type: ignore[attr-defined]
    assert params["loras"] == [{"name": "ink", "scale": 0.5}]

    (tmp_path / "request.json").write_text('{"loras": [{"name": "oil"}]}')
    refused = cli_here("render", *options, *file, **environment)
    assert refused.returncode == 2
    assert "loras.0.name: this model has no LoRA of this name; legal: 'ink'" in refused.stderr
