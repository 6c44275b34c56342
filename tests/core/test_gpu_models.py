"""What large models need on a GPU: text encoders that wait, and LoRAs under recorded steps."""

from __future__ import annotations

from pathlib import Path

import torch

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.loras import Loras
from panoweave.core.embedded import WEIGHTS
from panoweave.core.params import PanoramaParams
from tests.core.cuda import NEEDS_CUDA, load
from tests.core.loras import save, tensors_of

pytestmark = NEEDS_CUDA


def test_text_encoders_that_wait_change_no_bit() -> None:
    params = PanoramaParams(prompt="a lake", width=512, steps=3, seed=1)
    expected = load()(params).image.tobytes()
    waiting = load_pipeline(
        str(WEIGHTS), perceptual="stlpips-alex", device="cuda", offload_text_encoders=True
    )
    assert waiting.device.type == "cuda"
    assert waiting(params).image.tobytes() == expected
    assert {weight.device.type for weight in waiting.text_encoder.parameters()} == {"cpu"}
    with torch.no_grad():
        encoded = waiting.encode_prompt("a lake", "")
    assert encoded.conditional.tokens.is_cuda


def test_recorded_steps_follow_the_loras_of_each_request(tmp_path: Path) -> None:
    def offering() -> Loras:
        tensors = tensors_of(pipeline.unet, ("to_q", "conv1"), 1, "unet")
        offered = {"ink": save(tensors, tmp_path / "ink.safetensors")}
        return Loras(pipeline, offered, 2**30)

    def pictures() -> list[bytes]:
        made = []
        for loras in ([], [{"name": "ink", "scale": 0.1}], []):
            fields = {"prompt": "a lake", "width": 512, "steps": 3, "seed": 1, "loras": loras}
            made.append(pipeline(PanoramaParams.model_validate(fields)).image.tobytes())
        return made

    pipeline = load()
    pipeline.use_loras(offering())
    assert pipeline.graphs is not None
    replayed = pictures()
    pipeline.graphs = None
    assert pictures() == replayed
    assert replayed[0] == replayed[2] != replayed[1]
