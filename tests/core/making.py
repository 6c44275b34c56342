"""What is checked of every drawn request: it is refused clearly, or its panorama is made."""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.diffusion.image_files import encode
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.estimate import Speeds, estimate_work, step_work
from panoweave.core.families import reads_negative_prompt
from panoweave.core.images import check_image_sizes
from panoweave.core.params import PanoramaParams, ResolvedParams
from tests.core.drawn_requests import DrawnRequest

MOST_WORK: Final = 80.0  # of a panorama that is made, in calls for one window
_WINDOW_BATCH: Final = 12

_LABEL: Final = {"panorama": "drawn"}
_CONTROL_COST: Final = 1.5  # as the estimate counts it


@dataclass
class Calls:
    """Of the networks, for one window each."""

    samples: int = 0  # that went through the denoiser; guidance takes two for a window
    gradients: int = 0  # windows that were compared


def check(drawn: DrawnRequest, pipeline: SyncDiffusionPipeline) -> str:
    """What came of it, in a word."""
    params, traits = PanoramaParams.model_validate(drawn.asked), pipeline.traits
    resolved = resolved_or_refused(params, drawn.sizes, traits)
    if isinstance(resolved, InvalidParams):
        _check_refusal(resolved, drawn, traits)
        return f"refused: {resolved.field}"
    again = ResolvedParams.model_validate_json(resolved.model_dump_json())
    assert again == resolved == again.resolve(traits)  # as a worker reads and resolves it
    work = estimate_work(resolved, traits)
    assert (Speeds(prediction_s=1).predict(work) or 0) > 0
    if work.predictions + work.gradients > MOST_WORK:
        return "too long for a test"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # diffusers gives NumPy a tensor, in a way that NumPy is to drop.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        _check_panorama(drawn, params, resolved, pipeline)
    return "made"


def resolved_or_refused(
    params: PanoramaParams, sizes: dict[str, tuple[int, int]], traits: CheckpointTraits
) -> ResolvedParams | InvalidParams:
    """As the API accepts it."""
    try:
        resolved = params.resolve(traits)
        check_image_sizes(resolved, sizes, traits)
    except InvalidParams as refused:
        return refused
    return resolved


def _check_refusal(refused: InvalidParams, drawn: DrawnRequest, traits: CheckpointTraits) -> None:
    """It names a field of the request, and what it says to be legal is."""
    _check_named(refused.field)
    assert refused.problem
    assert refused.legal
    for value in _said_to_be_legal(refused.legal):
        asked = copy.deepcopy(drawn.asked)
        *path, name = refused.field.split(".")
        place: Any = asked
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[name] = value
        other = resolved_or_refused(PanoramaParams.model_validate(asked), drawn.sizes, traits)
        assert not isinstance(other, InvalidParams) or other.field != refused.field, (
            f"{refused}; but {value!r}: {other}"
        )


def _check_named(name: str) -> None:
    at: Any = PanoramaParams.model_json_schema()
    definitions = at["$defs"]
    for part in name.split("."):
        branches = [at, *at.get("anyOf", [])]
        found = [
            definitions[each["$ref"].rpartition("/")[2]] for each in branches if "$ref" in each
        ]
        at = found[0] if found else next((each for each in branches if "items" in each), at)
        at = at["items"] if part.isdigit() else at["properties"][part]


def _said_to_be_legal(legal: str) -> list[Any]:
    if nearest := re.search(r"nearest: (\d+)(?: or (\d+))?", legal):
        return [int(found) for found in nearest.groups() if found]
    if legal.startswith("null"):
        return [None]
    values: list[Any] = re.findall(r"'([^']+)'", legal)
    if legal == "an empty text":
        values.append("")
    if legal.isdigit():
        values.append(int(legal))
    if range_ := re.search(r"(?:^|or |from )(\d+) to (\d+)$", legal):
        values += map(int, range_.groups())
    return values


def _check_panorama(
    drawn: DrawnRequest,
    params: PanoramaParams,
    resolved: ResolvedParams,
    pipeline: SyncDiffusionPipeline,
) -> None:
    traits, images = pipeline.traits, drawn.images()
    states: list[bytes] = []
    with _counted(pipeline) as calls:

        def on_step(report: StepReport) -> None:
            assert report.total_steps == resolved.total_steps
            assert report.state.latents.isfinite().all()
            states.append(report.state.to_bytes(_LABEL))
            _check_estimate(report.step - 1, resolved, traits, calls)
            calls.samples = calls.gradients = 0

        made = pipeline(params, images=images, on_step=on_step, window_batch=_WINDOW_BATCH)
    assert len(states) == resolved.total_steps
    assert made.params == resolved
    assert made.image.size == resolved.picture_size(traits)
    assert made.coherence is None or 0 <= made.coherence.intra_lpips < float("inf")
    with Image.open(io.BytesIO(encode(made))) as file:
        file.load()
        assert file.size == made.image.size
    step = max(1, round(drawn.resumed_at * resolved.total_steps))
    state = SamplerState.from_bytes(states[step - 1], _LABEL)
    resumed = pipeline(params, images=images, resume=state, window_batch=_WINDOW_BATCH)
    assert resumed.image.tobytes() == made.image.tobytes()


def _check_estimate(
    step: int, params: ResolvedParams, traits: CheckpointTraits, calls: Calls
) -> None:
    """A step makes what was estimated; at most that where a picture's place decides."""
    is_first_stage = step < params.steps
    work, factor = step_work(step, params, traits), 1.0
    if params.control and is_first_stage:
        factor = _CONTROL_COST
    is_halved = params.guidance_scale == 1 or not reads_negative_prompt(traits)
    gradients = calls.gradients * (0.5 if is_halved else 1)
    predicted = calls.samples / 2 - gradients
    assert work.gradients / factor == gradients
    if params.regions or params.extend:
        assert predicted <= work.predictions / factor
    else:
        assert work.predictions / factor == predicted


@contextmanager
def _counted(pipeline: SyncDiffusionPipeline) -> Iterator[Calls]:
    calls, perceptual = Calls(), pipeline.perceptual
    assert perceptual is not None
    embed = perceptual.embed

    def count_samples(_network: Any, _args: Any, output: Any) -> None:
        calls.samples += len(output if is_unet else output[0])

    def count_gradients(images: torch.Tensor) -> Any:
        calls.gradients += len(images) if torch.is_grad_enabled() else 0
        return embed(images)

    is_unet = pipeline.unet is not None  # which may be passed in parts; this one is for each text
    network = pipeline.unet.conv_out if is_unet else pipeline.denoiser
    hook = network.register_forward_hook(count_samples)
    perceptual.embed = count_gradients  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        hook.remove()
        del perceptual.embed
