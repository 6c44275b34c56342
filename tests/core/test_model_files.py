"""What a model makes, read from its JSON files without torch, is what a worker finds."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
from diffusers import LCMScheduler, PNDMScheduler
from transformers import CLIPTextConfig, Qwen3Config, T5Config

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits, PublishedSyncDefaults
from panoweave.core.diffusion.checkpoints import load_checkpoint, load_pipeline
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.model_files.configs import CONFIGS
from panoweave.core.model_files.errors import DiffusionError
from panoweave.core.model_files.read import read_traits
from tests.core import tiny


def loaded(checkpoint: Path) -> CheckpointTraits:
    return load_checkpoint(str(checkpoint)).traits


def loaded_with_additions(checkpoint: Path, controlnet: Path | None = None) -> CheckpointTraits:
    return load_pipeline(
        str(checkpoint),
        perceptual="stlpips-alex",
        controlnet=str(controlnet) if controlnet else None,
        device="cpu",
    ).traits


def test_of_the_model_that_ships() -> None:
    assert read_traits(str(WEIGHTS)) == loaded_with_additions(WEIGHTS)


def test_of_a_plain_checkpoint(checkpoint: Path) -> None:
    assert read_traits(str(checkpoint)) == loaded(checkpoint)
    assert read_traits(str(checkpoint)) == CheckpointTraits(window_px=64, px_per_latent=8)


def test_of_sdxl(tmp_path: Path) -> None:
    SyncDiffusionPipeline(**tiny.components_xl(tmp_path / "words")).save_pretrained(tmp_path / "xl")
    assert read_traits(str(tmp_path / "xl")) == loaded(tmp_path / "xl")


@pytest.mark.parametrize("channels", [None, 16])
def test_of_a_latent_consistency_model(tmp_path: Path, channels: int | None) -> None:
    parts = tiny.components(tmp_path / "words") | {"unet": tiny.unet(time_cond_proj_dim=channels)}
    SyncDiffusionPipeline(**parts).save_pretrained(tmp_path / "lcm")
    LCMScheduler().save_pretrained(tmp_path / "lcm/scheduler")
    traits = read_traits(str(tmp_path / "lcm"))
    assert traits == loaded(tmp_path / "lcm")
    assert traits.defaults.steps == 8
    assert traits.defaults.guidance_scale == (8.5 if channels else 1)
    assert traits.negative_prompt == (channels is None)


def test_of_what_is_loaded_beside_it(checkpoint: Path) -> None:
    """From the settings, and from the checkpoint's own folders."""
    tiny.controlnet(tiny.unet()).save_pretrained(checkpoint / "of_settings")
    tiny.small_decoder().save_pretrained(checkpoint / "tiny_decoder")
    controlnet = checkpoint / "of_settings"
    traits = read_traits(str(checkpoint), controlnet=str(controlnet))
    assert traits == loaded_with_additions(checkpoint, controlnet)
    assert (traits.controlnet, traits.tiny_decoder) == (True, True)


def test_of_its_own_defaults(checkpoint: Path) -> None:
    (checkpoint / "panoweave.json").write_text('{"steps": 4, "scheduler": "euler"}')
    traits = read_traits(str(checkpoint))
    assert traits == loaded(checkpoint)
    assert traits.defaults == CheckpointDefaults(steps=4, scheduler="euler")


def test_of_its_own_values_of_sync(checkpoint: Path) -> None:
    (checkpoint / "panoweave.json").write_text('{"sync": {"balanced": {"weight": 4}}}')
    traits = read_traits(str(checkpoint))
    assert traits == loaded(checkpoint)
    assert traits.sync == {"balanced": PublishedSyncDefaults(weight=4)}


def test_of_an_old_checkpoint_whose_files_say_little(checkpoint: Path) -> None:
    """Settings that were added later have their defaults in both; CLIP's configuration is whole."""
    for name in ("unet", "vae"):
        file = checkpoint / name / "config.json"
        config = json.loads(file.read_text())
        plain = inspect.signature(getattr(diffusers, config["_class_name"]).__init__).parameters
        said = {
            field: value
            for field, value in config.items()
            if field not in plain or _as_json(plain[field].default) != value
        }
        assert len(said) < len(config)
        file.write_text(json.dumps(said))
    file = checkpoint / "text_encoder/config.json"
    text = json.loads(file.read_text())
    file.write_text(json.dumps({"model_type": "clip", "text_config": text}))
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(checkpoint / "scheduler")
    assert read_traits(str(checkpoint)) == loaded(checkpoint)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_defaults_are_those_of_the_libraries() -> None:
    for name, config in CONFIGS.items():
        theirs = _defaults(name)
        if name == "AutoencoderTiny":
            theirs["block_out_channels"] = theirs["decoder_block_out_channels"]
        for field, ours in config.model_fields.items():
            # Autoencoders that lack a setting of AutoencoderKL mean none, or pictures in colour.
            expected = theirs.get(field, ours.default if ours.default == 3 else None)
            assert (ours.default or None) == (expected or None), (name, field)


_TRANSFORMERS: dict[str, Any] = {
    "CLIPTextModel": CLIPTextConfig,
    "CLIPTextModelWithProjection": CLIPTextConfig,
    "T5EncoderModel": T5Config,
    "Qwen3Model": Qwen3Config,
}


def _defaults(name: str) -> dict[str, Any]:
    if name in _TRANSFORMERS:
        return dict(_TRANSFORMERS[name]().to_dict())
    kind = PatchAutoencoder if name == "PatchAutoencoder" else getattr(diffusers, name)
    parameters = inspect.signature(kind.__init__).parameters
    return {field: parameter.default for field, parameter in parameters.items()}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model_index.json", "{", r"model_index\.json is not JSON"),
        ("model_index.json", "[]", r"model_index\.json is not a JSON object"),
        ("unet/config.json", '{"sample_size": "big"}', r"unet: .*sample_size: "),
        ("unet/config.json", '{"in_channels": 0}', r"unet: .*in_channels: .*greater than 0"),
        ("unet/config.json", '{"_class_name": "FluxTransformer2DModel"}', "unet: it is a Flux"),
        ("vae/config.json", '{"block_out_channels": []}', r"vae: .*block_out_channels: "),
        ("vae/config.json", "version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        ("panoweave.json", '{"steps": 0}', r"panoweave\.json: steps: .*greater than or equal to 1"),
        (
            "panoweave.json",
            '{"sync": {"slow": {}}}',
            r"panoweave\.json: sync\.slow\..* 'paper', ",
        ),
        ("panoweave.json", '{"sync": {"fast": {"weigth": 1}}}', r"sync\.fast\.weigth: Extra inp"),
        (
            "panoweave.json",
            '{"perturbed_attention": true, "guidance_scale": 1}',
            r"perturbed_attention: without guidance.*legal: false",
        ),
        ("scheduler/scheduler_config.json", '{"_class_name": "EDMEulerScheduler"}', "EDMEulerS"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_field(
    checkpoint: Path, file: str, text: str, said: str
) -> None:
    (checkpoint / file).write_text(text)
    with pytest.raises(DiffusionError, match=rf"cannot read the checkpoint .*{said}") as refusal:
        read_traits(str(checkpoint))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("model_index.json", {"unet": None}, "the checkpoint has no unet"),
        ("model_index.json", {"prior": ["diffusers", "PriorTransformer"]}, "names a part 'prior'"),
        ("model_index.json", {"tokenizer": [None, None]}, "has no tokenizer"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderM"),
        ("unet/config.json", {"sample_size": [8, 16]}, "sample_size is .*not one whole number"),
        ("unet/config.json", {"in_channels": 9}, "the UNet takes 9 channels"),
        ("unet/config.json", {"cross_attention_dim": 32}, "cross_attention_dim is 32"),
        ("scheduler/scheduler_config.json", {"beta_start": None}, "does not say beta_start"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction type 'flow'"),
    ],
)
def test_what_no_worker_could_make_is_refused(
    checkpoint: Path, file: str, changes: dict[str, Any], said: str
) -> None:
    tiny.edit(checkpoint / file, **changes)
    with pytest.raises(DiffusionError, match=said):
        read_traits(str(checkpoint))


def test_what_does_not_fit_beside_it_is_refused(checkpoint: Path) -> None:
    tiny.small_decoder(channels=8).save_pretrained(checkpoint / "of_another")
    with pytest.raises(
        DiffusionError, match=r"tiny decoder .* 8 channels, this checkpoint's have 4"
    ):
        read_traits(str(checkpoint), tiny_decoder=str(checkpoint / "of_another"))
    with pytest.raises(
        DiffusionError, match=r"ControlNet .* it is a AutoencoderTiny; legal: a Con"
    ):
        read_traits(str(checkpoint), controlnet=str(checkpoint / "of_another"))


def test_reading_needs_no_torch(checkpoint: Path) -> None:
    script = (
        "import sys\n"
        "from panoweave.core.model_files.read import read_traits\n"
        f"print(read_traits({str(checkpoint)!r}).window_px)\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'huggingface_hub'}\n"
        "print(*heavy & set(sys.modules))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "64\n\n"
