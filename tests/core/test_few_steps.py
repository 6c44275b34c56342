"""Checkpoints that were distilled to a few steps, and those that receive the guidance scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline

from bench import few_steps
from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from tests.core import alone, tiny


def published(folder: Path, defaults: str | None = None, **unet: Any) -> str:
    """A checkpoint whose own scheduler is LCM's."""
    parts = tiny.components(folder / "words")
    parts["unet"] = tiny.unet(**unet)
    parts["scheduler"] = LCMScheduler.from_config(parts["scheduler"].config)
    StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder / "checkpoint")
    if defaults:
        (folder / "checkpoint" / "panoweave.json").write_text(defaults)
    return str(folder / "checkpoint")


@pytest.mark.parametrize(
    ("unet", "defaults", "expected"),
    [
        ({"time_cond_proj_dim": 16}, None, ("lcm", 8, 8.5)),
        ({}, None, ("lcm", 8, 1)),
        ({}, '{"steps": 4}', ("lcm", 4, 1)),
        ({}, '{"scheduler": "ddim", "guidance_scale": 2}', ("ddim", 8, 2)),
    ],
)
def test_what_a_request_leaves_open_suits_the_checkpoint(
    tmp_path: Path, unet: dict[str, Any], defaults: str | None, expected: tuple[str, int, float]
) -> None:
    """Its scheduler says what it is; its own defaults come first, and the request before both."""
    pipeline = SyncDiffusionPipeline.from_pretrained(published(tmp_path, defaults, **unet))
    params = PanoramaParams(prompt="a lake").resolve(pipeline.traits)
    assert (params.scheduler, params.steps, params.guidance_scale) == expected
    assert params.sync.steps <= params.steps
    asked = PanoramaParams(prompt="a lake", steps=6, scheduler="euler").resolve(pipeline.traits)
    assert (asked.scheduler, asked.steps) == ("euler", 6)


def test_one_window_of_a_consistency_model_is_diffusers_own_picture(tmp_path: Path) -> None:
    """It receives the guidance scale; the noise between its steps is drawn from the seed."""
    torch.manual_seed(0)
    pipeline = SyncDiffusionPipeline.from_pretrained(published(tmp_path, time_cond_proj_dim=16))
    tiny.in_float64(pipeline)
    theirs = StableDiffusionPipeline.from_pretrained(tmp_path / "checkpoint", safety_checker=None)
    for network in (theirs.unet, theirs.vae, theirs.text_encoder):
        network.double()

    def pair(guidance_scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        expected = alone.diffusers_own(
            theirs,
            alone.noise(pipeline),
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(alone.SEED),
        )
        ours = alone.latents(pipeline, guidance_scale=guidance_scale, scheduler="lcm")
        return ours, expected

    ours, expected = pair(8.5)
    # They scale the embedded guidance in float32.
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert (pair(2.0)[0] - ours).abs().max() > 1e-3


def test_a_few_steps_are_synchronised(tmp_path: Path, tiny_perceptual: PerceptualLoss) -> None:
    pipeline = SyncDiffusionPipeline.from_pretrained(published(tmp_path, time_cond_proj_dim=16))
    pipeline.perceptual = tiny_perceptual

    def made(weight: float) -> bytes:
        params = {
            "prompt": "a lake",
            "width": 128,
            "steps": 4,
            "seed": 1,
            "sync": {"weight": weight},
        }
        return pipeline(PanoramaParams.model_validate(params)).image.tobytes()

    assert made(28) != made(0)


def test_a_negative_prompt_that_no_prediction_would_read_is_refused(tmp_path: Path) -> None:
    """Where the guidance scale is an input, the network is called with the prompt alone."""
    traits = SyncDiffusionPipeline.from_pretrained(
        published(tmp_path, time_cond_proj_dim=16)
    ).traits
    region = {"prompt": "a", "x": 0, "width": 8, "negative_prompt": "fog"}
    refused: dict[str, dict[str, Any]] = {
        "negative_prompt": {"negative_prompt": "fog"},
        "regions.0.negative_prompt": {"regions": [region]},
    }
    for field, asked in refused.items():
        with pytest.raises(InvalidParams, match=f"{field}: this checkpoint .*: an empty text"):
            PanoramaParams.model_validate({"prompt": "a", **asked}).resolve(traits)


def test_more_steps_than_such_models_know_are_refused(tmp_path: Path) -> None:
    traits = SyncDiffusionPipeline.from_pretrained(published(tmp_path)).traits
    PanoramaParams(prompt="a lake", steps=50).resolve(traits)
    with pytest.raises(InvalidParams, match=r"steps: 51 are too many .* legal: 1 to 50"):
        PanoramaParams(prompt="a lake", steps=51).resolve(traits)
    assert PanoramaParams(prompt="a", steps=51, scheduler="euler").resolve(traits).steps == 51


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_bench_runs_to_the_end(
    whole_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(few_steps, "PROMPTS", ("a lake",))
    monkeypatch.setattr(few_steps, "WIDTH_PX", 256)
    asked = ["few_steps", "--seeds", "1", "--checkpoint", str(whole_checkpoint)]
    monkeypatch.setattr("sys.argv", asked)
    few_steps.main()
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines() if "|" in line]
    made = [(int(steps), int(moves)) for steps, moves in rows[2:]]
    assert made == [(steps, each) for steps, moves in few_steps.MOVES.items() for each in moves]
