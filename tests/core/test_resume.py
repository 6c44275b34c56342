"""A panorama that is stopped goes on in another pipeline as if it never had been stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.errors import InvalidSamplerStateError
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import StepReport, SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS, PresetName, SchedulerName
from tests.core import tiny
from tests.core.test_presets import small_decoder

LABEL = {"job": "pano_1", "panorama": "a lake"}
KEY = {"key": "given beside the request"}
Make = Callable[[], SyncDiffusionPipeline]


@pytest.fixture
def fresh(tmp_path: Path, perceptual: PerceptualLoss) -> Make:
    """Makes the same pipeline again, as another process would."""

    def make(**options: Any) -> SyncDiffusionPipeline:
        made = tiny.pipeline(tmp_path, **options)
        made.perceptual = perceptual
        made.use_tiny_decoder(small_decoder())
        made.use_controlnet(tiny.controlnet(made.unet))
        return made

    return make


def picture(width: int) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, 64))
    return Image.merge("RGB", (gradient, gradient.rotate(180), gradient))


def asked(**changes: Any) -> PanoramaParams:
    base = {"prompt": "a lake", "width": 96, "stride": 32, "seed": 3, "steps": 5}
    return PanoramaParams.model_validate({**base, **changes})


def check_resumes(
    fresh: Make,
    params: PanoramaParams,
    images: dict[str, Image.Image] | None = None,
    at: tuple[int, ...] = (1, 3, 5),
) -> None:
    """Stopped after any of these steps, its latents and its picture are the uninterrupted ones."""
    saved: list[bytes] = []
    lasts: list[Tensor] = []

    def save(report: StepReport) -> None:
        saved.append(report.state.to_bytes(LABEL))

    def look(report: StepReport) -> None:
        lasts.append(report.state.latents)

    whole = fresh()(params, images=images or {}, on_step=save).image
    end = SamplerState.from_bytes(saved[-1], LABEL).latents
    for step in at:
        state = SamplerState.from_bytes(saved[step - 1], LABEL)
        assert state.step == step
        lasts.clear()
        resumed = fresh()(params, images=images or {}, on_step=look, resume=state).image
        assert len(lasts) == len(saved) - step  # no step is done twice
        assert all(torch.equal(latents.cpu(), end) for latents in lasts[-1:])
        assert resumed.tobytes() == whole.tobytes()


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_scheduler_and_preset(
    fresh: Make, scheduler: SchedulerName, preset: PresetName
) -> None:
    windows = PRESETS[preset]["windows"]
    check_resumes(fresh, asked(scheduler=scheduler, preset=preset, windows=windows))


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"loop": True}, {}),
        ({"loop": True, "windows": "shifted"}, {}),
        ({"height": 96}, {}),
        ({"regions": [{"prompt": "a forest", "x": 16, "width": 48}], "steps": 8}, {}),
        ({"anchor_image": KEY}, {"anchor_image": 64}),
        ({"extend": {"image": KEY, "x": 16}}, {"extend.image": 64}),
        ({"control": {"type": "canny", "image": KEY}}, {"control.image": 96}),
    ],
    ids=["loop", "shifted loop", "two rows", "regions", "anchor_image", "extend", "control"],
)
def test_every_application(fresh: Make, changes: dict[str, Any], images: dict[str, int]) -> None:
    pictures = {field: picture(width) for field, width in images.items()}
    check_resumes(fresh, asked(scheduler="dpm++", **changes), pictures, at=(1, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
def test_half_precision_loses_nothing(
    fresh: Make, dtype: torch.dtype, scheduler: SchedulerName
) -> None:
    check_resumes(lambda: fresh().to(dtype), asked(scheduler=scheduler, steps=3), at=(2,))


@pytest.mark.parametrize(
    ("order", "algorithm"), [(1, "dpmsolver++"), (3, "dpmsolver++"), (2, "sde-dpmsolver++")]
)
def test_what_a_checkpoint_sets_of_its_solver(fresh: Make, order: int, algorithm: str) -> None:
    """As many earlier outputs as it looks back to; and noise at every step, where it adds any."""

    def make() -> SyncDiffusionPipeline:
        made = fresh()
        made.scheduler = DPMSolverMultistepScheduler.from_config(
            made.scheduler.config, solver_order=order, algorithm_type=algorithm
        )
        return made

    check_resumes(make, asked(scheduler="dpm++"), at=(1, 2, 3))


def test_a_larger_checkpoint(tmp_path: Path, perceptual: PerceptualLoss) -> None:
    def fresh() -> SyncDiffusionPipeline:
        made = SyncDiffusionPipeline(**tiny.components_xl(tmp_path))
        made.perceptual = perceptual
        return made

    check_resumes(fresh, asked(steps=3), at=(1,))


@pytest.fixture(scope="module")
def state() -> SamplerState:
    torch.manual_seed(0)
    outputs = {"1": torch.randn(1, 4, 8, 16).to(torch.bfloat16)}
    latents = torch.randn(1, 4, 8, 16, dtype=torch.float16)
    return SamplerState(3, latents, outputs, torch.Generator().get_state())


def same(one: SamplerState, other: SamplerState) -> bool:
    return (
        one.step == other.step
        and one.latents.dtype == other.latents.dtype
        and torch.equal(one.latents, other.latents)
        and torch.equal(one.generator_state, other.generator_state)
        and one.scheduler_state.keys() == other.scheduler_state.keys()
        and all(
            torch.equal(tensor, other.scheduler_state[name])
            for name, tensor in one.scheduler_state.items()
        )
    )


def test_bytes_hold_it_as_it_is(state: SamplerState) -> None:
    data = state.to_bytes(LABEL)
    assert same(SamplerState.from_bytes(data, LABEL), state)
    assert state.size_bytes <= len(data) <= state.size_bytes + 1_024


def test_what_was_saved_of_another_panorama_is_refused(state: SamplerState) -> None:
    data = state.to_bytes(LABEL)
    for name in LABEL:
        with pytest.raises(InvalidSamplerStateError, match=f"its {name} is another"):
            SamplerState.from_bytes(data, {**LABEL, name: "another"})


def test_another_format_is_refused(state: SamplerState, monkeypatch: pytest.MonkeyPatch) -> None:
    data = state.to_bytes(LABEL)
    monkeypatch.setattr("panoweave.core.diffusion.sampler_state._FORMAT", "2")
    with pytest.raises(InvalidSamplerStateError, match="its format is another"):
        SamplerState.from_bytes(data, LABEL)


@given(data=st.data())
@settings(max_examples=150)
def test_broken_bytes_are_refused(state: SamplerState, data: st.DataObject) -> None:
    """Or say the same all the same: never anything else."""
    whole = state.to_bytes(LABEL)
    broken = bytearray(whole)
    # A sixth of it is the header, where most can go wrong.
    place = data.draw(st.integers(0, 700) | st.integers(0, len(whole) - 1))
    broken[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))
    try:
        read = SamplerState.from_bytes(bytes(broken[:cut]), LABEL)
    except InvalidSamplerStateError:
        return
    assert same(read, state)


def test_where_another_panorama_stood_is_refused(fresh: Make) -> None:
    reports: list[StepReport] = []
    fresh()(asked(), on_step=reports.append)
    last = reports[-1].state
    with pytest.raises(ValueError, match=r"latents \(1, 4, 8, 12\) .* has \(1, 4, 8, 16\)"):
        fresh()(asked(width=128), resume=last)
    with pytest.raises(ValueError, match="step 5 of 4"):
        fresh()(asked(steps=4), resume=last)


def changes_of(pipeline: SyncDiffusionPipeline) -> Iterator[str]:
    """Its identity after each thing that changes its pictures."""
    pipeline.unet.conv_in.weight.data += 1e-3  # as training would
    yield identify(pipeline)
    pipeline.perceptual = load_perceptual("stlpips-vgg")
    yield identify(pipeline)
    pipeline.vae.to(torch.bfloat16)
    yield identify(pipeline)
    pipeline.controlnet = None
    yield identify(pipeline)
    pipeline.scheduler.register_to_config(beta_end=0.011)
    yield identify(pipeline)


def test_an_identity_is_the_networks(fresh: Make) -> None:
    pipeline = fresh()
    first = identify(pipeline)
    assert identify(fresh()) == first
    pipeline.enable_gradient_checkpointing()
    assert identify(pipeline) == first
    identities = [first, *changes_of(pipeline)]
    assert len(set(identities)) == len(identities)
