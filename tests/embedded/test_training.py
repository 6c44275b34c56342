"""Training from nothing to a checkpoint, tiny; a run that stops and resumes misses nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from panoweave.core.diffusion.checkpoints import load_tiny_decoder
from panoweave.core.embedded.autoencoder import DecoderRecipe, write_encoder
from panoweave.core.embedded.denoiser import DenoiserRecipe
from panoweave.core.embedded.latents import LATENT_CHANNELS, fit_pca, to_tensor
from panoweave.core.embedded.networks import build_autoencoder
from panoweave.core.embedded.runs import Schedule
from panoweave.core.embedded.shards import render_shard
from panoweave.core.embedded.train import STAGES, Recipe, Training, main

TINY = Recipe(
    shards=2,
    scenes_per_shard=3,
    decoder=DecoderRecipe(steps=4, width=8, batch=2),
    tiny=DecoderRecipe(steps=4, width=8, batch=2),
    denoiser=DenoiserRecipe(steps=4, widths=(16, 32), batch=2),
)


def _train(work: Path, stage: str, stop_after: int | None = None) -> None:
    getattr(Training(TINY, work, stop_after), stage)()


@pytest.mark.parametrize("stage", ["decoder", "tiny", "denoiser"])
def test_stop_and_resume_equals_one_run(stage: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train(whole, stage)
    _train(parts, stage, stop_after=2)
    assert _load(parts / f"{stage}.pt")["step"] == 2
    _train(parts, stage)
    _assert_equal(_load(whole / f"{stage}.pt"), _load(parts / f"{stage}.pt"))


def test_all_stages_end_in_a_directory_that_diffusers_loads(tmp_path: Path) -> None:
    training = Training(TINY, tmp_path)
    for stage in STAGES[:-1]:
        getattr(training, stage)()
    training.export(tmp_path / "weights")
    pipeline = StableDiffusionPipeline.from_pretrained(
        tmp_path / "weights", dtype=torch.float32, local_files_only=True
    )
    assert pipeline.unet.config.sample_size == 16
    small = load_tiny_decoder(str(tmp_path / "weights" / "tiny_decoder"))
    picture = small.decode(torch.zeros(1, LATENT_CHANNELS, 16, 16)).sample
    assert picture.shape == (1, 3, 64, 64)  # half the size of a window
    average = _load(tmp_path / "denoiser.pt")["ema"]["0"]
    first = next(iter(pipeline.unet.parameters()))
    torch.testing.assert_close(first, average.half().float())


def test_the_command_runs_a_single_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoweave.core.embedded.train.Recipe", lambda: TINY)
    threads = torch.get_num_threads()
    try:
        main(["--work", str(tmp_path), "--stage", "decoder", "--decoder-steps", "1"])
    finally:
        torch.set_num_threads(threads)
    assert _load(tmp_path / "decoder.pt")["step"] == 1
    assert not (tmp_path / "denoiser.pt").exists()


def test_schedule_warms_up_stays_and_falls() -> None:
    schedule = Schedule(steps=1_000, peak=1.0, warmup=100, decay=0.3)
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(99) == schedule.rate(700) == 1
    assert schedule.rate(850) == pytest.approx(0.5)
    assert schedule.rate(999) < 0.01


def test_latents_keep_what_matters_most() -> None:
    pictures = render_shard(seed=4, index=0, scenes=20).pictures
    pca = fit_pca(pictures[:30])
    again = fit_pca(pictures[:30])
    latents = pca.encode(to_tensor(pictures))
    assert latents.shape == (60, LATENT_CHANNELS, 16, 16)
    spread = latents.std((0, 2, 3))
    assert spread[0] == pytest.approx(1, rel=0.3)
    assert bool((spread[1:] < spread[:-1] * 1.2).all())
    torch.testing.assert_close(pca.kernel, again.kernel)


def test_the_encoder_gives_the_latents_exactly() -> None:
    pictures = to_tensor(render_shard(seed=5, index=0, scenes=2).pictures)
    pca = fit_pca(render_shard(seed=4, index=0, scenes=8).pictures)
    encoder = build_autoencoder(width=8).encoder
    write_encoder(encoder, pca)
    torch.testing.assert_close(encoder(pictures), pca.encode(pictures), rtol=1e-4, atol=1e-4)


def _load(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def _assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _assert_equal(x, y)
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    else:
        assert a == b
