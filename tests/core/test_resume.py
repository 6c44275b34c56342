"""A panorama that is stopped goes on in another pipeline as if it never had been stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import diffusers
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from panoweave.core.diffusion.errors import InvalidSamplerStateError
from panoweave.core.diffusion.identity import PipelineIdentity, identify
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS, Gradient, PresetName, SchedulerName
from tests.core import tiny
from tests.core.resuming import LABEL, Make, check_resumes, picture

KEY = {"key": "given beside the request"}


@pytest.fixture
def fresh(tmp_path: Path, tiny_perceptual: PerceptualLoss) -> Make:
    """Makes the same pipeline again, as another process would."""

    def make(**options: Any) -> SyncDiffusionPipeline:
        made = tiny.pipeline(tmp_path, **options)
        made.perceptual = tiny_perceptual
        made.use_tiny_decoder(tiny.small_decoder())
        made.use_controlnet(tiny.controlnet(made.unet))
        return made

    return make


def asked(**changes: Any) -> PanoramaParams:
    base = {"prompt": "a lake", "width": 96, "stride": 32, "seed": 3, "steps": 5}
    return PanoramaParams.model_validate({**base, **changes})


def moves_of(scheduler: SchedulerName) -> SyncParams:
    """Of lcm, one or two in each step. It has eight by default, which would be most of the work."""
    return SyncParams(tuned_steps=7) if scheduler == "lcm" else SyncParams()


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_scheduler_and_preset(
    fresh: Make, scheduler: SchedulerName, preset: PresetName
) -> None:
    windows, sync = PRESETS[preset]["windows"], moves_of(scheduler)
    check_resumes(fresh, asked(scheduler=scheduler, preset=preset, windows=windows, sync=sync))


@pytest.mark.parametrize("gradient", get_args(Gradient))
def test_every_gradient(fresh: Make, gradient: Gradient) -> None:
    check_resumes(fresh, asked(sync={"gradient": gradient}), at=(1, 4))


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
    params = asked(scheduler=scheduler, steps=3, sync=moves_of(scheduler))
    check_resumes(lambda: fresh().to(dtype), params, at=(1,))


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


def test_a_larger_checkpoint(tmp_path: Path, tiny_perceptual: PerceptualLoss) -> None:
    def fresh() -> SyncDiffusionPipeline:
        made = SyncDiffusionPipeline(**tiny.components_xl(tmp_path))
        made.perceptual = tiny_perceptual
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


def test_what_version_0_1_0_saved_is_read(fresh: Make) -> None:
    """Written by that version's own code, after three of five steps; its pictures go on too."""
    data = (Path(__file__).parent / "data" / "savepoint-0.1.0.safetensors").read_bytes()
    state = SamplerState.from_bytes(data, LABEL)
    assert state.step == 3
    assert state.latents.shape == (1, 4, 8, 12)
    assert state.scheduler_state.keys() == {"1"}
    assert torch.equal(state.generator_state, torch.Generator().manual_seed(3).get_state())
    steps: list[int] = []
    params = asked(scheduler="dpm++", sync=SyncParams(weight=0))
    fresh()(params, resume=state, on_step=lambda report: steps.append(report.step))
    assert steps == [4, 5]


def test_one_of_several_labels_is_enough(state: SamplerState) -> None:
    data = state.to_bytes(LABEL)
    assert same(SamplerState.from_bytes(data, {"job": "another"}, LABEL), state)
    with pytest.raises(InvalidSamplerStateError, match="its job is another"):
        SamplerState.from_bytes(data, {"job": "another"}, {**LABEL, "panorama": "another"})


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


def changes_of(pipeline: SyncDiffusionPipeline) -> Iterator[PipelineIdentity]:
    """Its identity after each thing that changes its panoramas."""
    pipeline.unet.conv_in.weight.data[-1, -1, -1, -1] += 1e-3  # any one number
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
    pipeline.set_gradient_checkpointing(True)
    pipeline.unet.to(memory_format=torch.channels_last)
    assert identify(pipeline) == first
    digests = [identity.digest for identity in (first, *changes_of(pipeline))]
    assert len(set(digests)) == len(digests)


def test_an_identity_knows_what_version_0_1_0_called_it(fresh: Make) -> None:
    """As that version computed it, written out again."""
    pipeline = fresh()
    networks = ("unet", "vae", "text_encoder", "tiny_decoder", "controlnet", "perceptual")
    states = [getattr(pipeline, name).state_dict() for name in networks]
    digest = hashlib.sha256()
    for tensors in states:
        first_eight = [tensor.flatten()[:8].double() for tensor in tensors.values()]
        digest.update(torch.cat(first_eight).numpy().tobytes())
    config = json.dumps(dict(pipeline.scheduler.config), sort_keys=True, default=str)
    threads = f"{torch.get_num_threads()} threads"
    capability = torch.backends.cpu.get_cpu_capability()
    lines = [torch.__version__, diffusers.__version__, "cpu", capability, threads, config]
    lines += [f"{k} {v.dtype} {tuple(v.shape)}" for tensors in states for k, v in tensors.items()]
    digest.update("\n".join(lines).encode())
    assert identify(pipeline).earlier == (digest.hexdigest(),)
