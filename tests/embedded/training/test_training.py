"""Training at tiny sizes: a run that stops and resumes misses nothing, all stages end in a
checkpoint that loads like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.embedded.train import STAGES, main
from panoweave.core.embedded.training.control import ControlRecipe
from panoweave.core.embedded.training.networks import build_controlnet, build_unet
from panoweave.core.embedded.training.runs import Phase, Phases, Schedule, Stop
from panoweave.core.embedded.training.stages import Training
from panoweave.core.params import PanoramaParams
from panoweave.core.vocabulary import read_vocabulary
from tests.embedded.training.pictures import write_data
from tests.embedded.training.recipe import TINY


def _train(work: Path, stage: str, after_steps: int | None = None) -> None:
    stop = Stop(after_steps=after_steps)
    getattr(Training(TINY, work, torch.device("cpu"), stop), stage)()


@pytest.mark.parametrize("stage", ["decoder", "tiny", "denoiser", "controlnet"])
def test_stop_and_resume_equals_one_run(stage: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for work in (whole, parts):
        write_data(work / "shards", 2)
        if stage == "controlnet":
            _train(work, "denoiser", after_steps=1)
    _train(whole, stage)
    _train(parts, stage, after_steps=1)
    assert _load(parts / f"{stage}.pt")["step"] == 1
    _train(parts, stage)
    _assert_equal(_load(whole / f"{stage}.pt"), _load(parts / f"{stage}.pt"))


@pytest.mark.parametrize("stage", ["denoiser", "controlnet"])
def test_batches_drawn_ahead_are_the_same(stage: str, tmp_path: Path) -> None:
    states = []
    for processes in (0, 2):
        work = tmp_path / str(processes)
        write_data(work / "shards", 2)
        if stage == "controlnet":
            _train(work, "denoiser", after_steps=1)
        getattr(Training(TINY, work, torch.device("cpu"), Stop(), processes), stage)()
        states.append(_load(work / f"{stage}.pt"))
    _assert_equal(*states)


def test_a_data_set_that_grew_changes_no_step_that_was_taken(tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    _train(tmp_path, "denoiser", after_steps=2)
    write_data(tmp_path / "shards", 1, first=2)
    _train(tmp_path, "denoiser")
    phases = json.loads((tmp_path / "denoiser.phases.json").read_text())
    assert [(phase["step"], phase["shards"]) for phase in phases] == [(0, 2), (2, 3)]
    grown = _load(tmp_path / "denoiser.pt")
    (tmp_path / "denoiser.pt").unlink()  # as if it had been killed before it saved
    _train(tmp_path, "denoiser")
    _assert_equal(grown, _load(tmp_path / "denoiser.pt"))


def test_a_run_without_the_first_shard_writes_nothing_down(tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    _train(tmp_path, "latents")
    first = (tmp_path / "shards" / "00000").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="must hold shard 0"):
        _train(tmp_path, "denoiser")
    first.rename(tmp_path / "shards" / "00000")  # as when another process has rendered it
    _train(tmp_path, "denoiser")
    assert _load(tmp_path / "denoiser.pt")["step"] == TINY.denoiser.steps


def test_phases_keep_what_was_written_down(tmp_path: Path) -> None:
    file = tmp_path / "phases.json"
    phases = Phases(file, lambda: (0, 5, 4))
    phases.extend(Phase(0, 0, 5, 4))
    phases.extend(Phase(10, 0, 5, 4))  # nothing new
    phases.extend(Phase(20, 2, 9, 8))
    phases.extend(Phase(15, 0, 7, 4))  # this step was taken already
    written = Phases(file, lambda: (0, 5, 4))
    assert [written.at(step).shards for step in (0, 19, 20, 99)] == [5, 5, 9, 9]
    assert written.at(20) == Phase(20, 2, 9, 8)


def test_all_stages_end_in_a_checkpoint_that_makes_panoramas(tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    threads = torch.get_num_threads()
    try:
        main(["--work", str(tmp_path), "--steps", "4", "--shards", "2", "--batch", "2"], TINY)
    finally:
        torch.set_num_threads(threads)
    for stage in STAGES[2:-1]:
        assert (tmp_path / f"{stage}.pt").exists()
    pipeline = load_pipeline(str(tmp_path / "export"), perceptual="stlpips-alex", device="cpu")
    assert pipeline.traits.window_px == 256
    assert pipeline.traits.px_per_latent == 16
    assert pipeline.traits.tiny_decoder
    assert pipeline.traits.controlnet
    params = PanoramaParams(prompt="a meadow", width=512, height=256, steps=2, preset="balanced")
    assert pipeline(params).image.size == (512, 256)
    words = read_vocabulary(tmp_path / "export")
    assert words is not None
    assert {"mountains", "dawn"} <= words
    average = _load(tmp_path / "denoiser.pt")["ema"]["0"]
    torch.testing.assert_close(next(iter(pipeline.unet.parameters())), average.half().float())


def test_the_command_runs_a_single_stage(tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    threads = torch.get_num_threads()
    try:
        main(["--work", str(tmp_path), "--stage", "latents"], TINY)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "pca.pt").exists()
    assert not list(tmp_path.glob("d*.pt"))


@torch.no_grad()
def test_an_untrained_controlnet_changes_nothing() -> None:
    shape = TINY.denoiser.shape
    unet = build_unet(shape, latent_channels=8)
    controlnet = build_controlnet(unet, TINY.controlnet.hint_widths)
    down, middle = controlnet(
        torch.randn(1, 8, 16, 16),
        torch.tensor(500),
        torch.randn(1, 32, shape.text_width),
        torch.rand(1, 3, 256, 256),
        return_dict=False,
    )
    assert max(float(part.abs().max()) for part in [*down, middle]) == 0


@torch.no_grad()
def test_edges_reach_the_last_layer_of_an_untrained_controlnets_hint() -> None:
    """As diffusers begins it, they change less than 0.00001 there: nothing is learnt from them."""
    recipe = ControlRecipe()
    unet = build_unet(TINY.denoiser.shape, latent_channels=8)
    hint = build_controlnet(unet, recipe.hint_widths).controlnet_cond_embedding
    seen = []
    hint.conv_out.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    edges = torch.zeros(1, 3, 256, 256)
    hint(edges)
    edges[:, :, 128] = 1
    hint(edges)
    nothing, line = seen
    assert (line - nothing).square().mean().sqrt() > 1e-3


def test_a_run_ends_when_its_time_is_up(tmp_path: Path) -> None:
    write_data(tmp_path / "shards", 2)
    Training(TINY, tmp_path, torch.device("cpu"), Stop(minutes=0)).denoiser()
    assert _load(tmp_path / "denoiser.pt")["step"] == 0


def test_schedule_warms_up_stays_and_falls() -> None:
    schedule = Schedule(steps=1_000, peak=1.0, warmup=100, decay=0.3)
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(99) == schedule.rate(700) == 1
    assert schedule.rate(850) == pytest.approx(0.5)
    assert schedule.rate(999) < 0.01


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
