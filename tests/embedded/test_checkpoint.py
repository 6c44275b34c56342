"""The committed weights: they load as plain Stable Diffusion and paint what the prompt says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from transformers import CLIPTokenizer

from panoweave.core.diffusion.checkpoints import load_tiny_decoder
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.examples import EXAMPLES
from panoweave.core.embedded.training.captions import vocabulary
from panoweave.core.embedded.training.export import NOTES
from panoweave.core.embedded.training.latents import PATCH_PX, WINDOW_PX
from panoweave.core.model_files.defaults import read_notes
from panoweave.core.vocabulary import read_vocabulary, unknown_words
from tests.embedded.held_out import held_out_windows

MAX_BYTES = 30_000_000
MAX_CONTROLNET_BYTES = 10_000_000


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    """In float32: a CPU is slow in float16."""
    loaded = StableDiffusionPipeline.from_pretrained(
        WEIGHTS, dtype=torch.float32, local_files_only=True
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def held_out() -> Tensor:
    return held_out_windows()[:4]  # one of each scene


def test_the_directory_is_small_and_half_precision() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    beside = [file for file in files if file.parent.name == "controlnet"]
    size, beside_size = (sum(file.stat().st_size for file in some) for some in (files, beside))
    assert size - beside_size <= MAX_BYTES
    assert beside_size <= MAX_CONTROLNET_BYTES
    weights = [file for file in files if file.suffix == ".safetensors"]
    parts = {"unet", "text_encoder", "vae", "tiny_decoder", "controlnet"}
    assert {file.parent.name for file in weights} == parts
    for file in weights:
        assert _dtypes(file) == {"F16"}, file


def test_another_export_would_write_the_same_notes() -> None:
    assert read_notes(WEIGHTS).model_dump_json() == NOTES.model_dump_json()


def test_geometry_and_missing_parts(pipeline: StableDiffusionPipeline) -> None:
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == WINDOW_PX
    assert pipeline.vae.config.scaling_factor == 1
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.safety_checker is None
    assert pipeline.feature_extractor is None


def test_it_says_which_words_it_was_trained_on() -> None:
    assert read_vocabulary(WEIGHTS) == frozenset(vocabulary())


@pytest.mark.parametrize("prompt", EXAMPLES)
def test_it_knows_the_words_of_the_prompts_that_it_suggests(prompt: str) -> None:
    assert prompt in read_notes(WEIGHTS).examples
    assert unknown_words(prompt, vocabulary()) == []


def test_the_tokenizer_is_the_one_of_the_grammar() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    words = [word for word in vocabulary() if word.isalpha()]  # others are split before merging
    assert len(words) > 400
    assert all(len(tokenizer(word).input_ids) == 3 for word in words)


@torch.no_grad()
def test_round_trip_of_unseen_windows(pipeline: StableDiffusionPipeline, held_out: Tensor) -> None:
    latents = pipeline.vae.encode(held_out).latents
    decoded = pipeline.vae.decode(latents).sample.clamp(-1, 1)
    thumbnail = _thumbnail(held_out, PATCH_PX)
    assert latents.shape[1:] == (pipeline.unet.config.in_channels, 16, 16)
    error = (decoded - held_out).abs().mean()
    assert error < 0.06
    assert error < 0.7 * (thumbnail - held_out).abs().mean()
    perceptual = load_perceptual("stlpips-alex")
    assert perceptual(decoded, held_out).mean() < 0.5 * perceptual(thumbnail, held_out).mean()


@torch.no_grad()
def test_the_tiny_decoder_sees_what_the_full_one_sees(
    pipeline: StableDiffusionPipeline, held_out: Tensor
) -> None:
    """Unseen windows at half the size, closer than a thumbnail of the latents' size is."""
    halved = avg_pool2d(held_out, 2)
    tiny = load_tiny_decoder(str(WEIGHTS / "tiny_decoder"))
    seen = tiny.decode(pipeline.vae.encode(held_out).latents).sample
    assert seen.shape == halved.shape
    thumbnail = _thumbnail(halved, PATCH_PX // 2)
    assert (seen - halved).abs().mean() < 0.6 * (thumbnail - halved).abs().mean()


def _thumbnail(pictures: Tensor, factor: int) -> Tensor:
    """Shrunk to the latents' size and back."""
    return interpolate(avg_pool2d(pictures, factor), scale_factor=factor, mode="bilinear")


@pytest.mark.slow
def test_windows_look_like_their_prompts(pipeline: StableDiffusionPipeline) -> None:
    def colours(prompt: str) -> Tensor:
        """Mean colour (upper half, lower half) x RGB of a few windows, in [0, 1]."""
        pictures = sample(pipeline, prompt, count=4, steps=10, guidance=4.0, seed=0)
        stack = torch.stack([_to_unit(picture) for picture in pictures])  # (N, H, W, 3)
        upper, lower = stack.mean(0).chunk(2)
        return torch.stack([upper.mean((0, 1)), lower.mean((0, 1))])

    night, noon = colours("mountains at night"), colours("mountains at noon")
    assert noon.mean() > 2 * night.mean()

    meadow, desert = colours("a green meadow at noon"), colours("a desert at noon")
    assert _greenness(meadow[1]) > 0.05
    assert _greenness(meadow[1]) > _greenness(desert[1]) + 0.1
    assert desert[1, 0] > desert[1, 2] + 0.1, "sand is redder than it is blue"

    sunset = colours("the sea at sunset")
    assert sunset[0, 0] > sunset[0, 2] + 0.1, "a sunset sky is red"
    assert noon[0, 2] > noon[0, 0], "a noon sky is blue"

    autumn, snow = colours("an autumn forest at noon"), colours("a snowy landscape at noon")
    assert snow[1].mean() > autumn[1].mean() + 0.1
    assert autumn[1, 0] - autumn[1, 2] > snow[1, 0] - snow[1, 2] + 0.1


@pytest.mark.slow
def test_a_bare_subject_leaves_the_style_open(pipeline: StableDiffusionPipeline) -> None:
    def spread(prompt: str) -> float:
        pictures = sample(pipeline, prompt, count=8, steps=8, guidance=2.0, seed=1)
        means = torch.stack([_to_unit(picture).mean((0, 1)) for picture in pictures])
        return means.std(0).mean().item()

    assert spread("mountains") > 1.5 * spread("mountains at night under a clear sky")


def test_long_prompts_are_cut(pipeline: StableDiffusionPipeline) -> None:
    pictures = sample(pipeline, "mountains at noon " * 30, count=1, steps=2, guidance=4.0, seed=0)
    assert [picture.size for picture in pictures] == [(WINDOW_PX, WINDOW_PX)]


def sample(
    pipeline: StableDiffusionPipeline,
    prompt: str,
    *,
    count: int,
    steps: int,
    guidance: float,
    seed: int,
) -> list[Image.Image]:
    """`count` single windows for one prompt."""
    pictures: list[Image.Image] = pipeline(
        [prompt] * count,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return pictures


def _to_unit(picture: object) -> Tensor:
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)


def _greenness(colour: Tensor) -> float:
    return float(colour[1] - (colour[0] + colour[2]) / 2)


def _dtypes(file: Path) -> set[str]:
    """From the header of a safetensors file: 8 bytes of length, then JSON."""
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
