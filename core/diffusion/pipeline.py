"""SyncDiffusion (arXiv 2306.05178) on any checkpoint in Stable Diffusion 1, 2 or XL's format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.coherence import Coherence, CoherenceMeter
from panoweave.core.diffusion.control import control_by
from panoweave.core.diffusion.decode import (
    decode,
    decode_canvas,
    decode_ring,
    from_pil,
    shrink,
    tile_windows,
    to_pil,
)
from panoweave.core.diffusion.denoise import Denoiser
from panoweave.core.diffusion.deterministic import deterministic
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.extend import keep
from panoweave.core.diffusion.formats import (
    check_controlnet,
    check_networks,
    distilled,
    needs_float32,
    read_defaults,
    read_traits,
)
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.prompts import (
    PromptEmbeddings,
    PromptEncoder,
    TruncatedPrompt,
    TwoPromptEncoders,
    find_truncated_prompts,
)
from panoweave.core.diffusion.regions import lay_out
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.schedulers import Sampler, check_scheduler
from panoweave.core.diffusion.sync import PictureAnchor, Synchronizer
from panoweave.core.diffusion.views import WindowPlan
from panoweave.core.images import check_image_sizes, image_inputs, read_inline
from panoweave.core.machine import DEFAULT_WINDOW_BATCH
from panoweave.core.params import PanoramaParams, ResolvedParams


@dataclass(frozen=True)
class StepReport:
    """One finished reverse step. The callback that gets it may raise to stop the panorama."""

    state: SamplerState  # after the step; passed as `resume`, the panorama goes on from here
    total_steps: int
    pred_original_sample: Tensor  # (1, C, H/f, W/f), predicted at the beginning of the step

    @property
    def step(self) -> int:
        """From 1."""
        return self.state.step


OnStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class Panorama:
    """A finished panorama and how it came about."""

    image: Image.Image
    params: ResolvedParams
    coherence: Coherence | None  # None: no meter, or the picture holds fewer than two windows
    timings_s: dict[str, float]  # encode, denoise, decode, measure
    truncated_prompts: list[TruncatedPrompt]

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
    `controlnet`, where set by `use_controlnet`, is what `control` in a request asks for.
    """

    # SDXL's. diffusers loads a checkpoint without them as well.
    _optional_components: ClassVar[list[str]] = ["text_encoder_2", "tokenizer_2"]

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        scheduler: Any,
        text_encoder_2: Any | None = None,
        tokenizer_2: Any | None = None,
        force_zeros_for_empty_prompt: bool = True,
    ) -> None:
        super().__init__()
        check_scheduler(scheduler)
        check_networks(unet, vae, text_encoder, text_encoder_2)
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
        )
        self.register_to_config(force_zeros_for_empty_prompt=force_zeros_for_empty_prompt)
        for network in (vae, text_encoder, unet, text_encoder_2):
            if network is not None:
                network.eval().requires_grad_(False)
        self.perceptual: PerceptualLoss | None = None
        self.meter: CoherenceMeter | None = None
        self.tiny_decoder: Any | None = None
        self.controlnet: Any | None = None
        self.gradient_checkpointing = False
        self.traits = read_traits(unet, vae)

    @classmethod
    def from_pretrained(cls, checkpoint: Any, **options: Any) -> SyncDiffusionPipeline:
        """Load a hub id or a directory; `options` as of diffusers' `from_pretrained`.

        The default sampler is DDIM over the checkpoint's own noise schedule, the paper's choice,
        whatever scheduler the checkpoint names; LCM's where it names that, for it was distilled to
        few steps. A directory may hold a `panoweave.json` with the defaults that suit it.
        """
        place = {
            name: options[name]
            for name in ("revision", "cache_dir", "local_files_only")
            if name in options
        }
        index = cls.load_config(checkpoint, **place)
        if "unet" not in index:
            raise CheckpointError(
                f"a {index.get('_class_name')} has no UNet; legal: checkpoints in the format of "
                "Stable Diffusion 1, 2 or XL"
            )
        is_distilled = False
        if "scheduler" not in options:
            config = DDIMScheduler.load_config(checkpoint, subfolder="scheduler", **place)
            is_distilled = config["_class_name"] == "LCMScheduler"
            # DDIM would clip the latents where the saved scheduler says nothing about clipping.
            options["scheduler"] = DDIMScheduler.from_config({"clip_sample": False, **config})
        pipeline: SyncDiffusionPipeline = super().from_pretrained(checkpoint, **options)
        if needs_float32(pipeline.vae, pipeline.text_encoder_2):
            pipeline.vae.to(torch.float32)
        defaults = read_defaults(Path(checkpoint))
        if is_distilled:
            defaults = distilled(defaults, pipeline.unet)
        pipeline.traits = pipeline.traits.model_copy(update={"defaults": defaults})
        return pipeline

    @property
    def components(self) -> dict[str, Any]:
        """As of diffusers, without what the checkpoint does not have."""
        parts: dict[str, Any] = super().components
        return {name: part for name, part in parts.items() if part is not None}

    def to(self, *target: Any, **options: Any) -> SyncDiffusionPipeline:
        """As of diffusers; the measuring networks move along, and stay in their own dtype."""
        pipeline: SyncDiffusionPipeline = super().to(*target, **options)
        if self.perceptual:
            self.perceptual.to(self.device)
        if self.meter:
            self.meter.to(self.device)
        if self.tiny_decoder:
            _match(self.tiny_decoder, self.unet)
        if self.controlnet:
            _match(self.controlnet, self.unet)
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
        _match(self.tiny_decoder, self.unet)
        self.traits = self.traits.model_copy(update={"tiny_decoder": True})

    def use_controlnet(self, controlnet: Any) -> None:
        """Let requests bring `control`. `controlnet`: a ControlNetModel for this UNet."""
        check_controlnet(controlnet, self.unet, self.traits.px_per_latent)
        self.controlnet = controlnet.eval().requires_grad_(False)
        _match(self.controlnet, self.unet)
        self.traits = self.traits.model_copy(update={"controlnet": True})

    def enable_gradient_checkpointing(self) -> None:
        """From now on less memory and more time for the same pictures (docs/benchmarks.md).

        What the gradient needs is computed again instead of kept, and smaller tiles are decoded.
        """
        for network in (self.unet, self.vae, self.tiny_decoder, self.controlnet):
            if network is not None and network._supports_gradient_checkpointing:
                network.enable_gradient_checkpointing()
        self.gradient_checkpointing = True

    def __call__(
        self,
        params: PanoramaParams,
        *,
        images: Mapping[str, Image.Image] = MappingProxyType({}),
        on_step: OnStep | None = None,
        window_batch: int = DEFAULT_WINDOW_BATCH,
        resume: SamplerState | None = None,
    ) -> Panorama:
        """Make one panorama.

        `images`: the pictures that the request holds by key, by field (`anchor_image`).
        `window_batch` windows go through the networks at once: memory and speed, not the result,
        but for rounding on a GPU. On one device the same request gives the same bits each time.
        `resume`: where this same panorama stood once; what comes out is as if it had never stopped.
        Raises InvalidParams where the checkpoint cannot make this size, and what `on_step` raises.
        """
        resolved = params.resolve(self.traits)
        pictures = self._pictures(resolved, images)
        timings: dict[str, float] = {}
        with torch.no_grad(), deterministic(self.device):
            with _clock(timings, "encode"):
                embeddings = self.encode_prompt(resolved.prompt, resolved.negative_prompt)
            with _clock(timings, "denoise"):
                latents = self.denoise(
                    self.draw_noise(resolved),
                    resolved,
                    embeddings,
                    on_step,
                    window_batch,
                    pictures,
                    resume,
                )
            with _clock(timings, "decode"):
                decode_whole = decode_ring if resolved.loop else decode_canvas
                tile = tile_windows(self.traits.window_px, self.gradient_checkpointing)
                image = to_pil(decode_whole(self.vae, latents, self.traits.window_latents, tile))
            with _clock(timings, "measure"):
                coherence = self.measure(image)
        return Panorama(
            image, resolved, coherence, timings, find_truncated_prompts(self.tokenizer, resolved)
        )

    def denoise(
        self,
        noise: Tensor,
        params: ResolvedParams,
        embeddings: PromptEmbeddings,
        on_step: OnStep | None,
        window_batch: int,
        pictures: Mapping[str, Tensor] = MappingProxyType({}),
        resume: SamplerState | None = None,
    ) -> Tensor:
        """All reverse steps, from noise to clean latents (1, C, H/f, W/f): Algorithm 1.

        With `resume`, those that are left.
        """
        plan = WindowPlan(params, self.traits)
        sampler = Sampler(self.scheduler, params.scheduler, params.steps, params.seed, noise.device)
        control = control_by(self.controlnet, params, self.traits, pictures)
        denoiser = Denoiser(self.unet, embeddings, params.guidance_scale, window_batch, control)
        synchronizer = Synchronizer(
            denoiser, sampler, self._decoder(params), self.perceptual, params.sync
        )
        layout = lay_out(
            params,
            self.traits,
            pictures,
            self.encode_prompt,
            self.vae,
            denoiser,
            sampler,
            noise,
        )
        kept = keep(params, self.traits, pictures, self.vae, noise, sampler, denoiser)
        picture = self._picture_anchor(params, pictures)

        latents = sampler.resume(resume, noise) if resume else sampler.begin(noise)
        for step in sampler.steps[resume.step if resume else 0 :]:
            latents = kept.impose(latents, step)  # the picture that the panorama grows around
            grid = plan.grid(step.index)
            windows = kept.guide(grid.read(latents), grid, step)
            anchor = picture or plan.anchor(latents, grid)
            windows, known = synchronizer.synchronize(windows, grid, anchor, step)  # SyncDiffusion
            predictions = denoiser.predict_all(windows, grid.corners, step, known)
            predictions = layout.blend(predictions, windows, grid, step)  # regions' prompts
            canvas, prediction = grid.merge(windows), grid.merge(predictions)
            latents = sampler.step(canvas, step, prediction)
            if on_step:
                original = sampler.foresee(canvas, step, prediction)
                state = SamplerState(
                    step.index + 1, latents, sampler.state(), sampler.generator_state()
                )
                on_step(StepReport(state, params.steps, original))
        return kept.finish(latents)

    def _pictures(
        self, params: ResolvedParams, images: Mapping[str, Image.Image]
    ) -> dict[str, Tensor]:
        """The pictures of a request (1, 3, H, W) in [-1, 1], by field; those inline too."""
        inline = {
            field: read_inline(field, image.base64)
            for field, image in image_inputs(params).items()
            if image.base64 is not None
        }
        given = {**inline, **images}
        check_image_sizes(
            params, {field: image.size for field, image in given.items()}, self.traits
        )
        missing = image_inputs(params).keys() - given.keys()
        if missing:
            raise ValueError(f"no picture was given for {', '.join(sorted(missing))}")
        return {field: from_pil(image, self.device)[None] for field, image in given.items()}

    def _picture_anchor(
        self, params: ResolvedParams, pictures: Mapping[str, Tensor]
    ) -> PictureAnchor | None:
        """What all windows follow in place of one of them, where a request brings a picture."""
        picture = pictures.get("anchor_image", pictures.get("extend.image"))
        if picture is None or self.perceptual is None:
            return None
        side = self.traits.window_latents
        window = picture.new_zeros(1, self.unet.config.in_channels, side, side)
        return PictureAnchor.of(picture, self.perceptual, self._decoder(params), window)

    def _decoder(self, params: ResolvedParams) -> Any:
        return self.tiny_decoder if params.sync.decoder == "tiny" else self.vae

    @torch.no_grad()
    def preview(self, latents: Tensor) -> Image.Image:
        """A small picture of clean latents (1, C, H/f, W/f), at little cost."""
        decoder = self.tiny_decoder
        if decoder is None:
            decoder, latents = self.vae, shrink(latents, self.traits.window_latents)
        return to_pil(decode(decoder, latents)[0].float())

    def measure(self, image: Image.Image) -> Coherence | None:
        return self.meter.measure(image, self.traits.window_px) if self.meter else None

    def draw_noise(self, params: ResolvedParams) -> Tensor:
        """Unit noise (1, C, H/f, W/f), drawn on the CPU: a seed means the same on any device."""
        scale = self.traits.px_per_latent
        shape = (1, self.unet.config.in_channels, params.height // scale, params.width // scale)
        generator = torch.Generator("cpu").manual_seed(params.seed)
        return torch.randn(shape, generator=generator).to(self.unet.device)

    def encode_prompt(self, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        """Embeddings of the prompt and the negative prompt, as this checkpoint's UNet is told."""
        if self.text_encoder_2 is None:
            return PromptEncoder(self.tokenizer, self.text_encoder).encode(prompt, negative_prompt)
        return TwoPromptEncoders(
            (self.tokenizer, self.tokenizer_2),
            (self.text_encoder, self.text_encoder_2),
            self.traits.window_px,
            self.config.force_zeros_for_empty_prompt,
        ).encode(prompt, negative_prompt)


def _match(network: Any, other: Any) -> None:
    network.to(other.device)
    if network.dtype != other.dtype:  # diffusers warns of every conversion
        network.to(other.dtype)


@contextmanager
def _clock(timings: dict[str, float], part: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run on after the call returns
    timings[part] = time.perf_counter() - begin
