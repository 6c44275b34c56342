"""SyncDiffusion (arXiv 2306.05178) on any Stable-Diffusion-1/2-format checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from core.diffusion.coherence import Coherence, CoherenceMeter
from core.diffusion.decode import decode_canvas, decode_ring, encode, to_pil
from core.diffusion.denoise import Denoiser, PromptEmbeddings
from core.diffusion.errors import CheckpointError
from core.diffusion.layout import Backdrop, Layout, Region, box, plain_pictures
from core.diffusion.perceptual import PerceptualLoss
from core.diffusion.prompts import Unread, find_unread
from core.diffusion.sampler import Sampler, check_scheduler
from core.diffusion.synchronize import Synchronizer
from core.diffusion.windows import WindowPlan
from core.params import DEFAULT_WINDOW_BATCH, PanoramaParams, ResolvedParams
from core.traits import CheckpointDefaults, CheckpointTraits


@dataclass(frozen=True)
class StepReport:
    """One finished reverse step. The callback that gets it may raise to stop the panorama."""

    step: int  # from 1
    total_steps: int
    latents: Tensor  # (1, C, H/f, W/f), as merged at the end of the step


OnStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class Panorama:
    """A finished panorama and how it came about."""

    image: Image.Image
    params: ResolvedParams
    coherence: Coherence | None  # None: no meter, or the picture holds fewer than two windows
    timings_s: dict[str, float]  # encode, denoise, decode, measure
    unread: list[Unread]  # prompts that the text encoder did not read to their ends

    @property
    def seed(self) -> int:
        return self.params.seed


class SyncDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Text to wide panorama: MultiDiffusion, its windows synchronised by SyncDiffusion.

        pipeline = SyncDiffusionPipeline.from_pretrained("a/checkpoint")
        pipeline.perceptual = load_perceptual("stlpips-alex")
        pipeline(PanoramaParams(prompt="a mountain lake")).image.save("lake.png")

    `perceptual` is what synchronising follows; without it only `sync.weight = 0` (plain
    MultiDiffusion) runs. `meter`, where set, measures every finished panorama. `tiny_decoder`,
    where set by `use_tiny_decoder`, is what windows are compared through at less cost.
    """

    def __init__(
        self, vae: Any, text_encoder: Any, tokenizer: Any, unet: Any, scheduler: Any
    ) -> None:
        super().__init__()
        check_scheduler(scheduler)
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )
        for network in (vae, text_encoder, unet):
            network.eval().requires_grad_(False)
        self.perceptual: PerceptualLoss | None = None
        self.meter: CoherenceMeter | None = None
        self.tiny_decoder: Any | None = None
        self.traits = _traits(unet, vae)

    @classmethod
    def from_pretrained(cls, checkpoint: Any, **options: Any) -> SyncDiffusionPipeline:
        """Load a hub id or a directory; `options` as of diffusers' `from_pretrained`.

        The sampler is DDIM over the checkpoint's own noise schedule, whatever scheduler the
        checkpoint names: the paper's choice, and one that overlapping windows can share. A
        directory may hold a `panoweave.json` with the defaults that suit it.
        """
        if "scheduler" not in options:
            config = DDIMScheduler.load_config(
                checkpoint,
                subfolder="scheduler",
                revision=options.get("revision"),
                cache_dir=options.get("cache_dir"),
                local_files_only=options.get("local_files_only", False),
            )
            # DDIM would clip the latents where the saved scheduler says nothing about clipping.
            options["scheduler"] = DDIMScheduler.from_config({"clip_sample": False, **config})
        pipeline: SyncDiffusionPipeline = super().from_pretrained(checkpoint, **options)
        defaults = _read_defaults(Path(checkpoint))
        pipeline.traits = pipeline.traits.model_copy(update={"defaults": defaults})
        return pipeline

    def to(self, *target: Any, **options: Any) -> SyncDiffusionPipeline:
        """As of diffusers; the measuring networks move along, and stay in their own dtype."""
        pipeline: SyncDiffusionPipeline = super().to(*target, **options)
        if self.perceptual:
            self.perceptual.to(self.device)
        if self.meter:
            self.meter.to(self.device)
        if self.tiny_decoder:
            self._match_vae(self.tiny_decoder)
        return pipeline

    def use_tiny_decoder(self, autoencoder: Any) -> None:
        """Let `sync.decoder = "tiny"` compare windows through a smaller decoder of these latents.

        `autoencoder`: an AutoencoderTiny; its pictures may be smaller than the checkpoint's own.
        """
        channels = autoencoder.config.latent_channels
        if channels != self.unet.config.in_channels:
            raise CheckpointError(
                f"the tiny decoder reads latents of {channels} channels, this checkpoint's have "
                f"{self.unet.config.in_channels}"
            )
        self.tiny_decoder = autoencoder.eval().requires_grad_(False)
        self._match_vae(self.tiny_decoder)
        self.traits = self.traits.model_copy(update={"tiny_decoder": True})

    def __call__(
        self,
        params: PanoramaParams,
        *,
        on_step: OnStep | None = None,
        window_batch: int = DEFAULT_WINDOW_BATCH,
    ) -> Panorama:
        """Make one panorama.

        `window_batch` windows go through the networks at once: memory and speed, not the result.
        Raises InvalidParams where the checkpoint cannot make this size, and what `on_step` raises.
        """
        resolved = params.resolve(self.traits)
        timings: dict[str, float] = {}
        with torch.no_grad():
            with _clock(timings, "encode"):
                embeddings = self.encode_prompt(resolved.prompt, resolved.negative_prompt)
            with _clock(timings, "denoise"):
                latents = self.denoise(
                    self.draw_noise(resolved), resolved, embeddings, on_step, window_batch
                )
            with _clock(timings, "decode"):
                decode_whole = decode_ring if resolved.loop else decode_canvas
                image = to_pil(decode_whole(self.vae, latents, self.traits.window_latents))
            with _clock(timings, "measure"):
                coherence = self.measure(image)
        return Panorama(image, resolved, coherence, timings, find_unread(self.tokenizer, resolved))

    def denoise(
        self,
        noise: Tensor,
        params: ResolvedParams,
        embeddings: PromptEmbeddings,
        on_step: OnStep | None,
        window_batch: int,
    ) -> Tensor:
        """All reverse steps, from noise to clean latents (1, C, H/f, W/f): Algorithm 1."""
        plan = WindowPlan(params, self.traits)
        sampler = Sampler(self.scheduler, params.scheduler, params.steps, params.seed, noise.device)
        denoiser = Denoiser(self.unet, embeddings, params.guidance_scale, window_batch)
        synchronizer = Synchronizer(
            denoiser, sampler, self._decoder(params), self.perceptual, params.sync
        )
        layout = self._layout(params, denoiser, sampler, noise)

        latents = sampler.begin(noise)
        for step in sampler.steps:
            grid = plan.grid(step.index)
            windows, anchor = grid.read(latents), plan.anchor(latents, grid)  # (N, C, S, S)
            windows, known = synchronizer.synchronize(windows, anchor, step)  # SyncDiffusion
            predictions = denoiser.predict_all(windows, step, known)
            predictions = layout.blend(predictions, windows, grid, step)  # regions' prompts
            latents = sampler.step(grid.merge(windows), step, grid.merge(predictions))
            if on_step:
                on_step(StepReport(step.index + 1, params.steps, latents))
        return latents

    def _layout(
        self, params: ResolvedParams, denoiser: Denoiser, sampler: Sampler, noise: Tensor
    ) -> Layout:
        scale, (height, width) = self.traits.px_per_latent, noise.shape[-2:]
        regions = [
            Region(
                box(region, height, width, scale).to(noise),
                self.encode_prompt(region.prompt, region.negative_prompt),
            )
            for region in params.regions
        ]
        backdrop = Backdrop(lambda: self._plain_windows().to(noise), noise, sampler)
        return Layout(regions, denoiser, backdrop, params.steps)

    def _plain_windows(self) -> Tensor:
        return encode(self.vae, plain_pictures(self.traits.window_px))

    def _match_vae(self, decoder: Any) -> None:
        decoder.to(self.vae.device)
        if decoder.dtype != self.vae.dtype:  # diffusers warns of every conversion
            decoder.to(self.vae.dtype)

    def _decoder(self, params: ResolvedParams) -> Any:
        return self.tiny_decoder if params.sync.decoder == "tiny" else self.vae

    def measure(self, image: Image.Image) -> Coherence | None:
        return self.meter.measure(image, self.traits.window_px) if self.meter else None

    def draw_noise(self, params: ResolvedParams) -> Tensor:
        """Unit noise (1, C, H/f, W/f), drawn on the CPU: a seed means the same on any device."""
        scale = self.traits.px_per_latent
        shape = (1, self.unet.config.in_channels, params.height // scale, params.width // scale)
        generator = torch.Generator("cpu").manual_seed(params.seed)
        return torch.randn(shape, generator=generator).to(self.unet.device)

    def encode_prompt(self, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        """Text embeddings of the prompt and the negative prompt, (1, tokens, channels) each."""
        tokens = self.tokenizer(
            [prompt, negative_prompt],
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        use_mask = getattr(self.text_encoder.config, "use_attention_mask", False)
        device = self.text_encoder.device
        mask = tokens.attention_mask.to(device) if use_mask else None
        hidden = self.text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        return PromptEmbeddings(conditional=hidden[:1], unconditional=hidden[1:])


def _traits(unet: Any, vae: Any) -> CheckpointTraits:
    """Window size from the checkpoint's own configuration."""
    channels = (unet.config.in_channels, unet.config.out_channels, vae.config.latent_channels)
    if len(set(channels)) != 1:
        raise CheckpointError(
            f"the UNet takes {channels[0]} channels and gives {channels[1]}, the autoencoder's "
            f"latents have {channels[2]}; legal: text-to-image checkpoints, where all are equal"
        )
    sample_size = unet.config.sample_size
    if not isinstance(sample_size, int):
        raise CheckpointError(f"unet.config.sample_size is {sample_size!r}, not one whole number")
    px_per_latent = 2 ** (len(vae.config.block_out_channels) - 1)
    return CheckpointTraits(window_px=sample_size * px_per_latent, px_per_latent=px_per_latent)


def _read_defaults(checkpoint: Path) -> CheckpointDefaults:
    file = checkpoint / "panoweave.json"
    if not file.is_file():
        return CheckpointDefaults()
    try:
        return CheckpointDefaults.model_validate_json(file.read_text())
    except ValidationError as error:
        raise CheckpointError(f"{file}: {error}") from error


@contextmanager
def _clock(timings: dict[str, float], part: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run on after the call returns
    timings[part] = time.perf_counter() - begin
