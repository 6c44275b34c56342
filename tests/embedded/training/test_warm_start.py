"""A training begins with a checkpoint's weights, and is refused where weights would be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded import train
from panoweave.core.embedded.training.networks import build_controlnet
from panoweave.core.embedded.training.runs import Stop
from panoweave.core.embedded.training.stages import Training
from panoweave.core.embedded.training.warm_start import start_from
from tests.embedded.training.pictures import write_data
from tests.embedded.training.recipe import TINY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random networks: what they have learnt does not matter here."""
    first = training(tmp_path_factory.mktemp("first"))
    write_data(first.work / "shards", 2)
    first.latents()
    torch.manual_seed(9)
    networks = first.networks()
    controlnet = build_controlnet(networks.unet, TINY.controlnet.hint_widths)
    for name, parameters in (
        ("denoiser", networks.parameters()),
        ("controlnet", list(controlnet.parameters())),
    ):
        average = {str(i): 0.1 * torch.randn_like(each) for i, each in enumerate(parameters)}
        torch.save({"ema": average}, first.state(name))
    first.export(first.work / "export")
    return first.work / "export"


def training(work: Path, after_steps: int | None = None) -> Training:
    return Training(TINY, work, torch.device("cpu"), Stop(after_steps=after_steps))


def test_a_new_export_is_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    work = tmp_path / "second"
    train.main(["--work", str(work), "--from", str(checkpoint), "--stage", "export"], TINY)
    files = sorted(file.relative_to(checkpoint) for file in checkpoint.rglob("*.safetensors"))
    assert len(files) == 5
    for file in files:
        again, before = (load_file(folder / file) for folder in (work / "export", checkpoint))
        assert again.keys() == before.keys()
        for name, tensor in before.items():
            # The encoder's bias is computed from the mean patch.
            near = 1e-6 if name == "encoder.bias" else 0
            torch.testing.assert_close(again[name], tensor, rtol=0, atol=near)
    for name in ("vocabulary.json", "tokenizer/tokenizer.json"):
        assert (work / "export" / name).read_bytes() == (checkpoint / name).read_bytes()


def test_latents_are_what_the_checkpoint_s_encoder_makes(checkpoint: Path, tmp_path: Path) -> None:
    start_from(checkpoint, training(tmp_path))
    pca = training(tmp_path).latent_space()
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    autoencoder = PatchAutoencoder.from_pretrained(checkpoint, subfolder="vae").float()
    torch.testing.assert_close(pca.encode(pictures), autoencoder.encode(pictures).latents)


def test_steps_go_on_from_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    start_from(checkpoint, training(tmp_path))
    begun = weights(training(tmp_path).trained_networks().unet)
    training(tmp_path, after_steps=1).denoiser()
    state = torch.load(tmp_path / "denoiser.pt", weights_only=True)
    assert state["step"] == 1
    after = weights(training(tmp_path).trained_networks().unet)
    assert 0 < (after - begun).abs().max() < 1e-3  # random weights would differ by far more


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_training_that_is_there_is_not_overwritten(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_from(checkpoint, training(tmp_path))
    before = (tmp_path / "denoiser.pt").read_bytes()
    with pytest.raises(SystemExit):
        train.main(["--work", str(tmp_path), "--from", str(checkpoint)], TINY)
    assert "--from: " in capsys.readouterr().err
    assert (tmp_path / "denoiser.pt").read_bytes() == before


def test_a_checkpoint_of_another_recipe_is_refused_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    wider = replace(TINY.denoiser, shape=replace(TINY.denoiser.shape, widths=(16, 48)))
    other = Training(replace(TINY, denoiser=wider), tmp_path, torch.device("cpu"), Stop())
    with pytest.raises(ValueError, match="denoiser has other layers"):
        start_from(checkpoint, other)
    assert list(tmp_path.iterdir()) == []
