"""On CUDA too the same request gives the same bits, and an interrupted panorama goes on with them.

In half precision, as installed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from bench import sd2_random
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.machine import DtypeName, PerceptualName
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS, Gradient, PresetName, SchedulerName
from tests.core.cuda import NEEDS_CUDA, load
from tests.core.resuming import check_resumes, picture

pytestmark = NEEDS_CUDA

_ELSEWHERE = """
import hashlib, sys
from pathlib import Path
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.params import PanoramaParams
from tests.core.cuda import load
state = SamplerState.from_bytes(Path(sys.argv[1]).read_bytes(), {})
params = PanoramaParams.model_validate_json(sys.argv[2])
print(hashlib.sha256(load()(params, resume=state).image.tobytes()).hexdigest())
"""


def asked(**changes: Any) -> PanoramaParams:
    return PanoramaParams.model_validate(
        {"prompt": "a lake", "seed": 1, "width": 1_536, "steps": 6, **changes}
    )


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_and_scheduler(preset: PresetName, scheduler: SchedulerName) -> None:
    windows = PRESETS[preset]["windows"]
    params = asked(scheduler=scheduler, preset=preset, windows=windows)
    check_resumes(load, params, at=(2, 6))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes(dtype: DtypeName) -> None:
    check_resumes(lambda: load(dtype=dtype), asked(preset="paper"), at=(3,))


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"loop": True}, {}),
        ({"regions": [{"prompt": "a forest", "x": 256, "width": 512}]}, {}),
        ({"anchor_image": {"key": "beside"}}, {"anchor_image": 256}),
        (
            {"control": {"type": "canny", "image": {"key": "beside"}}},
            {"control.image": 1_536},
        ),
    ],
    ids=["loop", "regions", "anchor_image", "control"],
)
def test_applications(changes: dict[str, Any], images: dict[str, int]) -> None:
    pictures = {
        field: picture(width).resize((width, 256), Image.Resampling.BICUBIC)
        for field, width in images.items()
    }
    check_resumes(load, asked(**changes), pictures, at=(3,))


@pytest.mark.parametrize(
    ("name", "trunk"),
    [
        ("stlpips-vgg", None),
        ("lpips-alex", models.alexnet),
        ("lpips-vgg", models.vgg16),
        ("lpips-squeeze", models.squeezenet1_1),
        ("style-vgg", models.vgg19),
    ],
)
def test_every_perceptual_network(
    name: PerceptualName, trunk: Callable[..., nn.Module] | None, tmp_path: Path
) -> None:
    """On random trunks: the real ones are downloads."""
    file = tmp_path / "trunk.pth"
    if trunk:
        torch.save(trunk(weights=None).state_dict(), file)

    def make() -> SyncDiffusionPipeline:
        made = load()
        made.perceptual = load_perceptual(name, file if trunk else None).to(made.device)
        return made

    check_resumes(make, asked(preset="paper", steps=3), at=(1,))


def test_another_process_goes_on(tmp_path: Path) -> None:
    saved: list[bytes] = []
    params = asked(steps=10)
    whole = load()(params, on_step=lambda report: saved.append(report.state.to_bytes({})))
    file = tmp_path / "state"
    file.write_bytes(saved[4])
    command = [sys.executable, "-c", _ELSEWHERE, str(file), params.model_dump_json()]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.strip() == hashlib.sha256(whole.image.tobytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_of_full_size(tmp_path: Path) -> None:
    """Its kernels are others: flash attention, larger tiles."""
    sd2_random.write(tmp_path)
    pipeline = load_pipeline(str(tmp_path), perceptual="stlpips-alex")
    for preset in PRESETS:
        params = asked(preset=preset, width=1_536, steps=3, stride=128)
        check_resumes(lambda: pipeline, params, at=(1,))


@pytest.mark.parametrize("gradient", get_args(Gradient))
@pytest.mark.parametrize("preset", PRESETS)
def test_replayed_steps_are_those_computed_one_by_one(
    preset: PresetName, gradient: Gradient
) -> None:
    """At another width, too: some batches have other sizes, some are replayed."""
    replayed, computed = load(), load()
    assert replayed.graphs is not None
    computed.graphs = None
    for width in (1_536, 1_024):
        params = asked(preset=preset, width=width, sync={"gradient": gradient})
        assert replayed(params).image.tobytes() == computed(params).image.tobytes()


def test_settings_are_left_as_they_were() -> None:
    pipeline = load()
    during: list[bool] = []
    pipeline(
        asked(steps=1),
        on_step=lambda _: during.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert during == [True]
    assert not torch.are_deterministic_algorithms_enabled()
