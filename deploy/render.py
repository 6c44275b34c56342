"""`panoweave render`: one panorama in this process, with no queue and no server."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from rich.markup import escape

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.output import FormatName
from panoweave.core.params import PanoramaParams
from panoweave.deploy.console import out, panorama_progress
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.settings import read_settings
from panoweave.deploy.threads import wait_politely

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import Panorama, SyncDiffusionPipeline
    from panoweave.core.diffusion.sampling import StepReport
    from panoweave.core.infra.settings import Settings


_FORMATS: Final[Mapping[str, FormatName]] = MappingProxyType(
    {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
)


def run_render(asked: Mapping[str, Any], output: Path, request: Path | None = None) -> int:
    said = {**(read_request(request) if request else {}), **asked}
    params = check_params(_with_format(said, output))
    settings = read_settings()
    pipeline = _load(settings)
    begun = time.monotonic()
    panorama = _make(pipeline, params, settings.window_batch)
    from panoweave.core.diffusion.image_files import encode

    output.write_bytes(encode(panorama))
    _report(panorama, output, time.monotonic() - begun)
    return 0


def read_request(file: Path) -> dict[str, Any]:
    """The fields in a JSON file, its pictures' files read in."""
    try:
        fields = json.loads(file.read_text(), object_hook=_read_picture)
    except OSError as error:
        raise BadOption(f"--params: cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise BadOption(f"--params: {file} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadOption(f"--params: {file} holds no JSON object")
    return fields


def _read_picture(value: dict[str, Any]) -> dict[str, Any]:
    if value.keys() != {"file"} or not isinstance(value["file"], str):
        return value
    return ImageInput.inline(Path(value["file"]).read_bytes()).model_dump()


def check_params(asked: Mapping[str, Any]) -> PanoramaParams:
    try:
        return PanoramaParams.model_validate(asked)
    except ValidationError as error:
        problems = [f"{option_name(one['loc'])}: {one['msg']}" for one in error.errors()]
        raise BadOption("; ".join(problems)) from error


def option_name(field: str | tuple[int | str, ...]) -> str:
    """What the person typed: `sync.weight` is --sync-weight, `prompt` is PROMPT."""
    parts = field.split(".") if isinstance(field, str) else [str(part) for part in field]
    name = "-".join(parts).replace("_", "-")
    return "PROMPT" if name == "prompt" else f"--{name}"


def _with_format(asked: dict[str, Any], output: Path) -> dict[str, Any]:
    """The request for a file of that name. Refused before minutes of work, not after."""
    suffix = output.suffix.lower()
    if suffix not in _FORMATS:
        raise BadOption(f"-o: {output} ends in none of {', '.join(_FORMATS)}")
    if not output.resolve().parent.is_dir():
        raise BadOption(f"-o: there is no folder {output.resolve().parent}")
    said = asked.get("output", {})
    if not isinstance(said, dict):
        return asked  # refused with the rest
    if said.get("format") not in (None, _FORMATS[suffix]):
        raise BadOption(f"-o: {output} is no file of the output.format {said['format']!r}")
    return {**asked, "output": {**said, "format": _FORMATS[suffix]}}


def _load(settings: Settings) -> SyncDiffusionPipeline:
    wait_politely()
    with out.status(f"loading the model ({escape(settings.model)})"):
        from panoweave.core.diffusion.errors import DiffusionError
        from panoweave.worker.model import load_model

        try:
            return load_model(settings)
        except DiffusionError as error:
            raise DeployError(str(error), "`panoweave doctor` checks the model") from error


def _make(pipeline: SyncDiffusionPipeline, params: PanoramaParams, window_batch: int) -> Panorama:
    import torch

    from panoweave.core.diffusion.errors import DiffusionError
    from panoweave.core.diffusion.oom_retry import OomRetry

    with panorama_progress() as progress:
        bar = progress.add_task("panorama", total=None, phase="denoising", eta_s=None)
        begun = time.monotonic()

        def show(report: StepReport) -> None:
            left = report.total_steps - report.step
            eta_s = (time.monotonic() - begun) / report.step * left
            phase = f"step {report.step} of {report.total_steps}" if left else "decoding, measuring"
            progress.update(
                bar,
                total=report.total_steps,
                completed=report.step,
                phase=phase,
                eta_s=eta_s if left else None,
            )

        try:
            panorama = OomRetry(pipeline, window_batch).generate(params, on_step=show)
        except InvalidParams as error:
            raise BadOption(
                f"{option_name(error.field)}: {error.problem}; legal: {error.legal}"
            ) from error
        except DiffusionError as error:
            raise DeployError(str(error), "no picture was made") from error
        except torch.OutOfMemoryError as error:
            raise DeployError(
                "memory ran out, with one window at once too",
                "a smaller picture, or PANOWEAVE_DTYPE=float16",
            ) from error
        progress.update(bar, phase="done")
        return panorama


def _report(panorama: Panorama, output: Path, took_s: float) -> None:
    width, height = panorama.image.size
    out.print(
        f"[bold]{escape(str(output))}[/]  {width} x {height} px, seed {panorama.seed}, "
        f"made in {took_s:.1f} s"
    )
    if panorama.coherence is not None:
        out.print(
            f"Intra-LPIPS {panorama.coherence.intra_lpips:.3f} ({panorama.coherence.lpips_net}); "
            "lower is more coherent"
        )
    for prompt in panorama.truncated_prompts:
        out.print(
            f"[yellow]{option_name(prompt.field)}[/] is longer than the {prompt.limit} tokens that "
            f"the model reads; not read: {escape(repr(prompt.text))}"
        )
