"""SyncDiffusion (arXiv 2306.05178) on a checkpoint of any of the families."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.clock import clock
from panoweave.core.diffusion.coherence import Coherence, CoherenceMeter
from panoweave.core.diffusion.conditioning import (
    prepare_known_region,
    prepare_regions,
    read_images,
)
from panoweave.core.diffusion.cuda_graphs import CudaGraphs
from panoweave.core.diffusion.decode import (
    decode,
    decode_canvas,
    decode_ring,
    shrink,
    tile_windows,
    to_pil,
)
from panoweave.core.diffusion.deterministic import deterministic
from panoweave.core.diffusion.equirectangular import to_equirectangular
from panoweave.core.diffusion.errors import check_picture
from panoweave.core.diffusion.families import family_of
from panoweave.core.diffusion.families.loading import load_components
from panoweave.core.diffusion.gradients import gradient_through
from panoweave.core.diffusion.guidance import BatchedModel, ClassifierFreeGuidance, Model
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.networks import match, switch_gradient_checkpointing
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.parts import PartsOfPanorama
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.prompts import (
    PromptEmbeddings,
    find_truncated_prompts,
    find_unknown_words,
)
from panoweave.core.diffusion.quality import find_quality_warnings
from panoweave.core.diffusion.ranks import ONE_RANK, Ranks
from panoweave.core.diffusion.reference import prepare_reference
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport, sample_syncdiffusion
from panoweave.core.diffusion.schedulers import SchedulerAdapter
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.upscaling import kept_first_stage, of_whole, sample_enlarged
from panoweave.core.diffusion.views import WindowPlan
from panoweave.core.machine import DEFAULT_WINDOW_BATCH
from panoweave.core.model_files.additions import check_controlnet, check_tiny_decoder
from panoweave.core.model_files.defaults import fill_defaults, read_notes
from panoweave.core.model_files.hub import fetch_checkpoint
from panoweave.core.model_files.index import PARTS
from panoweave.core.model_files.readers import READERS
from panoweave.core.params import PanoramaParams, ResolvedParams

OnStep = Callable[[StepReport], None]
OnBatch = Callable[[], None]


class SyncDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Text to wide panorama: encode the prompts, prepare, sample, decode, measure.

        pipeline = SyncDiffusionPipeline.from_pretrained("a/checkpoint")
        pipeline.perceptual = load_perceptual("stlpips-alex")
        pipeline(PanoramaParams(prompt="a mountain lake")).image.save("lake.png")

    `perceptual` compares windows; without it only `sync.weight = 0` (plain MultiDiffusion) runs.
    `meter`, if set, measures every finished panorama. `tiny_decoder`, set by `use_tiny_decoder`,
    decodes windows for the comparison at less cost. `controlnet`, set by `use_controlnet`, is for
    requests with `control`. `ranks` are the processes that make each panorama together.
    """

    # Each family has some of them.
    _optional_components: ClassVar[list[str]] = [
        *("unet", "transformer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    ]

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler: Any,
        unet: Any | None = None,
        transformer: Any | None = None,
        text_encoder_2: Any | None = None,
        tokenizer_2: Any | None = None,
        text_encoder_3: Any | None = None,
        tokenizer_3: Any | None = None,
        force_zeros_for_empty_prompt: bool = True,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            transformer=transformer,
            text_encoder_3=text_encoder_3,
            tokenizer_3=tokenizer_3,
        )
        self.register_to_config(force_zeros_for_empty_prompt=force_zeros_for_empty_prompt)
        self.perceptual: PerceptualLoss | None = None
        self.meter: CoherenceMeter | None = None
        self.tiny_decoder: Any | None = None
        self.controlnet: Any | None = None
        self.loras: Loras | None = None
        self.vocabulary: Collection[str] | None = None  # None: it may know any word
        self.trained_height: int | None = None  # pixels; None: not known
        self.gradient_checkpointing = False
        self.ranks: Ranks = ONE_RANK
        self.graphs: CudaGraphs | None = None  # on a GPU: `load_pipeline`
        self.family = family_of(self.denoiser, text_encoder_2)
        self.family.check_scheduler(scheduler)
        reader = READERS[self.family.about]
        reader.check(self)
        self.traits = reader.read(self)
        for network in (vae, self.denoiser, *self.text_encoders):
            network.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: Any,
        *,
        dtype: torch.dtype | None = torch.float32,
        local_files_only: bool = False,
        **source: Any,
    ) -> SyncDiffusionPipeline:
        """Load a hub id or a directory; `source`: revision and cache_dir, as of the hub.

        `dtype` None: half precision, as it suits the family. For Stable Diffusion 1, 2 and XL the
        default scheduler is DDIM, as in the paper, over the checkpoint's own noise schedule,
        whatever scheduler with such a schedule the checkpoint names; but LCM's for a checkpoint
        that names that, which was distilled to a few steps. A directory may hold a
        `panoweave.json`, see `CheckpointNotes`. Raises DiffusionError for every part that is
        missing, incomplete or not supported.
        """
        folder = fetch_checkpoint(
            str(checkpoint), ("", *PARTS), local_files_only=local_files_only, **source
        )
        loaded = load_components(folder, dtype)
        pipeline = cls(**loaded.arguments)
        pipeline.traits = fill_defaults(pipeline.traits, folder, loaded.scheduler_class, pipeline)
        pipeline.trained_height = read_notes(folder).trained_height
        return pipeline

    @property
    def denoiser(self) -> Any:
        """The network that denoises: a UNet or a transformer."""
        return self.transformer if self.unet is None else self.unet

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def text_encoders(self) -> list[Any]:
        all_of_them = (self.text_encoder, self.text_encoder_2, self.text_encoder_3)
        return [encoder for encoder in all_of_them if encoder is not None]

    @property
    def components(self) -> dict[str, Any]:
        """As in diffusers, without the components that the checkpoint does not have."""
        parts: dict[str, Any] = super().components
        return {name: part for name, part in parts.items() if part is not None}

    def to(self, *target: Any, **options: Any) -> SyncDiffusionPipeline:
        """As in diffusers. The measuring networks move too but keep their own dtype."""
        pipeline: SyncDiffusionPipeline = super().to(*target, **options)
        if self.perceptual:
            self.perceptual.to(self.device)
        if self.meter:
            self.meter.to(self.device)
        if self.tiny_decoder:
            match(self.tiny_decoder, self.denoiser)
        if self.controlnet:
            match(self.controlnet, self.denoiser)
        return pipeline

    def use_tiny_decoder(self, autoencoder: Any) -> None:
        """Add a smaller decoder of the same latents, for `sync.decoder = "tiny"`.

        `autoencoder`: an AutoencoderTiny; its images may be smaller than the checkpoint's own.
        """
        check_tiny_decoder(autoencoder.config, self)
        self.tiny_decoder = autoencoder.eval().requires_grad_(False)
        match(self.tiny_decoder, self.denoiser)
        self.traits = self.traits.model_copy(update={"tiny_decoder": True})

    def use_controlnet(self, controlnet: Any) -> None:
        """Add a ControlNetModel for this UNet, for requests with `control`."""
        check_controlnet(controlnet.config, self, self.traits)
        self.controlnet = controlnet.eval().requires_grad_(False)
        match(self.controlnet, self.denoiser)
        self.traits = self.traits.model_copy(update={"controlnet": True})

    def use_loras(self, loras: Loras) -> None:
        """Add LoRAs of this pipeline, for requests with `loras`."""
        self.loras = loras
        self.traits = self.traits.model_copy(update={"loras": loras.traits})

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Whether to make the same panoramas with less memory in more time (docs/benchmarks.md).

        Activations are recomputed for the gradient instead of kept, and smaller tiles are decoded.
        """
        if enabled == self.gradient_checkpointing:
            return
        for network in (self.denoiser, self.vae, self.tiny_decoder, self.controlnet):
            if network is not None:
                switch_gradient_checkpointing(network, enabled)
        self.gradient_checkpointing = enabled

    def __call__(
        self,
        params: PanoramaParams,
        *,
        images: Mapping[str, Image.Image] = MappingProxyType({}),
        on_step: OnStep | None = None,
        on_batch: OnBatch | None = None,
        window_batch: int = DEFAULT_WINDOW_BATCH,
        resume: SamplerState | None = None,
    ) -> Panorama:
        """Make one panorama.

        `images`: those that the request names by key, by field (`anchor_image`).
        `on_step` is called after each step, `on_batch` before each batch of windows goes through
        the network, before each tile is encoded or decoded and before each window is measured; an
        exception that they raise stops the panorama.
        `window_batch`: how many windows go through the networks at once. It changes memory and
        speed, and the result by rounding only. On one device, with the same value, the same
        request gives the same bits each time.
        `resume`: an earlier state of the same panorama; the result is as if it had not stopped.
        Raises InvalidParams if the checkpoint cannot make this panorama.
        """
        resolved = params.resolve(self.traits)
        inputs = read_images(resolved, images, self.traits, self.device)
        timings: dict[str, float] = {}
        with torch.no_grad(), deterministic(self.device):
            with clock(timings, "encode"):
                loras = self.loras.fold_in(resolved.loras) if self.loras else []
                prompts = self.encode_prompt(resolved.prompt, resolved.negative_prompt)
            with clock(timings, "denoise"):
                latents = kept_first_stage(resume, resolved, self.device)
                if latents is None:
                    latents = self.sample(
                        self.draw_noise(resolved),
                        resolved,
                        prompts,
                        inputs,
                        on_step=of_whole(on_step, resolved),
                        resume=resume,
                        window_batch=window_batch,
                        on_batch=on_batch,
                    )
            with clock(timings, "decode"):
                image = self.decode(latents, resolved.loop, on_batch)
            if resolved.upscale:
                with clock(timings, "upscale"):
                    latents = sample_enlarged(
                        self,
                        image,
                        latents,
                        resolved,
                        prompts,
                        inputs,
                        on_step=on_step,
                        resume=resume,
                        window_batch=window_batch,
                        on_batch=on_batch,
                    )
                with clock(timings, "decode"):
                    image = self.decode(latents, resolved.loop, on_batch)
            with clock(timings, "measure"):
                measured = image.reduce(resolved.upscale) if resolved.upscale else image
                coherence = self.measure(measured, on_batch)
        truncated = find_truncated_prompts(self.family.prompt_reader(self), resolved)
        unknown = find_unknown_words(self.vocabulary, resolved)
        extended = inputs.size("extend.image")
        quality = find_quality_warnings(measured, resolved, self.trained_height, extended)
        if resolved.projection == "equirectangular":
            image = to_equirectangular(image, resolved, self.traits.window_px)
        return Panorama(image, resolved, coherence, timings, truncated, unknown, quality, loras)

    def encode_prompt(self, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        """The embeddings of a prompt and its negative prompt, as this checkpoint takes them."""
        return self.family.encode_prompt(self, prompt, negative_prompt)

    def draw_noise(self, params: ResolvedParams) -> Tensor:
        """Unit noise (1, C, H/f, W/f), drawn on the CPU: a seed means the same on any device."""
        scale = self.traits.px_per_latent
        shape = (1, self.latent_channels, params.height // scale, params.width // scale)
        generator = torch.Generator("cpu").manual_seed(params.seed)
        return torch.randn(shape, generator=generator).to(self.denoiser.device)

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        params: ResolvedParams,
        prompts: PromptEmbeddings,
        images: Mapping[str, Tensor] = MappingProxyType({}),
        *,
        window_batch: int = DEFAULT_WINDOW_BATCH,
        on_step: OnStep | None = None,
        on_batch: OnBatch | None = None,
        resume: SamplerState | None = None,
        scheduler: SchedulerAdapter | None = None,
        parts: PartsOfPanorama | None = None,
    ) -> Tensor:
        """Prepare what the request asks for, and sample: from unit noise to clean latents.

        Both (1, C, H/f, W/f). `images` (1, 3, H, W) in [-1, 1], by field. `scheduler`: in place of
        the request's. `parts`: the panorama that the windows are parts of, with `upscale`.
        """
        scheduler = scheduler or self.family.scheduler(self, params, noise.device)
        plan = WindowPlan(params, self.traits)
        scale = params.guidance_scale
        network = self.family.network(
            self, scale, params.control, images.get("control.image"), params.loop
        )

        def guided_by(embeddings: PromptEmbeddings) -> ClassifierFreeGuidance:
            return ClassifierFreeGuidance(
                network, embeddings, scale, perturbed=bool(params.perturbed_attention)
            )

        def batched(model: Model) -> BatchedModel:
            return BatchedModel(model, window_batch, on_batch, self.ranks)

        # A ControlNet depends on the views, which recordings do not; what a part of a panorama
        # follows does, too. Checkpointing computes again what a recording would have to hold.
        can_record = isinstance(network, UNet) and not (parts or self.gradient_checkpointing)
        graphs = self.graphs if can_record else None
        guided = guided_by(graphs.keep(prompts) if graphs else prompts)
        gradient_of = gradient_through(guided, params.sync.gradient)
        model = batched(graphs.model(guided, params) if graphs else guided)
        appearance, reference, given_anchor = prepare_reference(
            self, params.sync, images, parts, noise, plan, scheduler
        )
        regional_prompts = prepare_regions(
            self,
            params,
            images,
            model,
            lambda embeddings: batched(guided_by(embeddings)),
            noise,
            scheduler,
            bootstrap=parts is None,
        )
        known_region = prepare_known_region(self, params.extend, images, noise, scheduler, on_batch)
        return sample_syncdiffusion(
            model,
            noise,
            scheduler,
            plan,
            params.sync,
            appearance,
            reference=reference,
            given_anchor=given_anchor,
            # Ranks would wait for the one that has the anchor.
            batch_anchor=noise.is_cuda and self.ranks.size == 1,
            regional_prompts=regional_prompts,
            known_region=known_region,
            gradient_of=graphs.gradient(gradient_of, params) if graphs else gradient_of,
            resume=resume,
            callback=on_step,
        )

    @torch.no_grad()
    def decode(
        self, latents: Tensor, loop: bool = False, on_tile: OnBatch | None = None
    ) -> Image.Image:
        """The image of clean latents (1, C, H/f, W/f) of any size."""
        decode_whole = decode_ring if loop else decode_canvas
        window, tile = self.traits.window_latents, self.tile_windows
        picture = decode_whole(self.vae, latents, window, tile, on_tile, self.ranks)
        check_picture(picture)
        return to_pil(picture)

    @property
    def tile_windows(self) -> int:
        """How many windows the autoencoder encodes or decodes at once."""
        return tile_windows(self.traits.window_px, self.gradient_checkpointing)

    def measure(self, image: Image.Image, on_window: OnBatch | None = None) -> Coherence | None:
        return self.meter.measure(image, self.traits.window_px, on_window) if self.meter else None

    @torch.no_grad()
    def preview(self, latents: Tensor, on_tile: OnBatch | None = None) -> Image.Image:
        """A small image of clean latents (1, C, H/f, W/f), at little cost."""
        window = self.traits.window_latents
        if self.tiny_decoder is None:
            return to_pil(decode(self.vae, shrink(latents, window))[0].float())
        tile = self.tile_windows
        return to_pil(decode_canvas(self.tiny_decoder, latents, window, tile, on_tile))
