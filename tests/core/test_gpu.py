"""The same panoramas on CUDA, in float32 and in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.machine import DtypeName
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS, PresetName
from tests.core import tiny
from tests.core.cuda import NEEDS_CUDA, load

pytestmark = NEEDS_CUDA


@pytest.fixture
def exact_arithmetic() -> Iterator[None]:
    """No TensorFloat-32: it keeps ten bits of a float32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def latents(pipeline: SyncDiffusionPipeline, **changes: Any) -> Tensor:
    params = PanoramaParams(prompt="a lake", seed=1, width=512, **changes)
    return tiny.sample(pipeline, params, window_batch=8).cpu()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.usefixtures("exact_arithmetic")
def test_cuda_makes_what_the_cpu_makes(preset: PresetName) -> None:
    cpu = latents(load("cpu", "float32"), preset=preset, steps=5)
    cuda = latents(load("cuda", "float32"), preset=preset, steps=5)
    torch.testing.assert_close(cuda, cpu, rtol=0, atol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_half_precision_makes_nearly_the_same_picture(preset: PresetName, dtype: DtypeName) -> None:
    params = PanoramaParams(prompt="a lake", seed=1, width=768, preset=preset, steps=25)
    halved, exact = (
        np.asarray(load("cuda", one)(params).image, float) for one in (dtype, "float32")
    )
    other = np.asarray(load("cuda", "float32")(params.model_copy(update={"seed": 2})).image, float)
    assert np.abs(halved - exact).mean() < 0.5 * np.abs(other - exact).mean()


def test_memory_does_not_grow_with_the_picture() -> None:
    pipeline = load("cuda", "float16")
    peaks = []
    for width in (3_072, 24_576):
        torch.cuda.reset_peak_memory_stats()
        pipeline(PanoramaParams(prompt="a lake", seed=1, width=width, steps=2, preset="paper"))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.1 * peaks[0]


def test_every_network_goes_to_the_gpu() -> None:
    """The measuring ones in float32 all the same."""
    pipeline = load("cuda", "float16")
    assert pipeline.tiny_decoder is not None
    for network in (pipeline.unet, pipeline.vae, pipeline.tiny_decoder):
        assert network.device.type == "cuda"
        assert network.dtype == torch.float16
    assert pipeline.perceptual is not None
    assert {p.dtype for p in pipeline.perceptual.parameters()} == {torch.float32}
    assert {p.device.type for p in pipeline.perceptual.parameters()} == {"cuda"}
