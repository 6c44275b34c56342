"""`panoweave render`: one panorama in this process, without servers."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.markup import escape

from panoweave.core.accepted_values import explain
from panoweave.core.checkpoint import InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.output import MEDIA_TYPES, SUFFIXES
from panoweave.core.params import PanoramaParams
from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.render_options import option_name
from panoweave.deploy.serve.collector import uncollected
from panoweave.deploy.serve.threads import limit_spinning
from panoweave.deploy.terminal import out, panorama_progress, print_line

if TYPE_CHECKING:
    from panoweave.core.diffusion.content_credentials import ContentCredentials
    from panoweave.core.diffusion.panorama import Panorama
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
    from panoweave.core.diffusion.sampling import StepReport
    from panoweave.core.infra.settings import Settings


def run_render(asked: Mapping[str, Any], output: Path, request: Path | None = None) -> int:
    """`asked`: the fields given on the command line, which override those in the request file."""
    given = _override(read_request(request), asked) if request else {**asked}
    params = check_params(_with_format(given, output))
    settings = read_settings()
    pipeline, credentials = _load(settings)
    begun = time.monotonic()
    panorama = _make(pipeline, params, settings.window_batch)
    from panoweave.core.diffusion.image_files import encode

    picture = encode(panorama)
    if credentials:
        picture = credentials.sign(picture, MEDIA_TYPES[panorama.params.output.format])
    try:
        output.write_bytes(picture)
    except OSError as error:
        raise DeployError(f"-o: {output} cannot be written: {error.strerror}") from error
    _report(panorama, output, time.monotonic() - begun)
    return 0


def read_request(file: Path) -> dict[str, Any]:
    """The fields in a JSON file, with the pictures that it names by file."""
    try:
        fields = json.loads(file.read_text(), object_hook=_read_picture)
    except OSError as error:
        raise BadOption(f"--params: cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise BadOption(f"--params: {file} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadOption(f"--params: {file} is not a JSON object")
    return fields


def _override(request: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Field by field, also within `sync` and `output`."""
    fields = {**request, **asked}
    for name, value in asked.items():
        if isinstance(value, dict) and isinstance(request.get(name), dict):
            fields[name] = {**request[name], **value}
    return fields


def _read_picture(value: dict[str, Any]) -> dict[str, Any]:
    if value.keys() != {"file"} or not isinstance(value["file"], str):
        return value
    return ImageInput.inline(Path(value["file"]).read_bytes()).model_dump()


def check_params(asked: Mapping[str, Any]) -> PanoramaParams:
    try:
        return PanoramaParams.model_validate(asked)
    except ValidationError as error:
        found = [explain(PanoramaParams, one) for one in error.errors()]
        problems = [f"{option_name(one.field)}: {one.detail}; legal: {one.legal}" for one in found]
        raise BadOption("\n".join(problems)) from error


def _with_format(asked: dict[str, Any], output: Path) -> dict[str, Any]:
    """The request with the format that the file's name asks for.

    Checked before the model is loaded: a picture that cannot be written is minutes of work lost.
    """
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadOption(f"-o: {output} must end in one of {', '.join(SUFFIXES)}")
    _check_writable(output)
    wanted = asked.get("output", {})
    if not isinstance(wanted, dict):
        return asked  # PanoramaParams refuses it
    if wanted.get("format") not in (None, SUFFIXES[suffix]):
        raise BadOption(f"-o: {output} is not a file of the output.format {wanted['format']!r}")
    return {**asked, "output": {**wanted, "format": SUFFIXES[suffix]}}


def _check_writable(output: Path) -> None:
    folder = output.resolve().parent
    if not folder.is_dir():
        raise BadOption(f"-o: there is no directory {folder}")
    try:
        if output.is_dir():
            raise BadOption(f"-o: {output} is a directory")
        if output.exists():
            output.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadOption(f"-o: {output} cannot be written: {error.strerror}") from error


def _load(settings: Settings) -> tuple[SyncDiffusionPipeline, ContentCredentials | None]:
    limit_spinning()
    with out.status(f"loading the model ({escape(settings.model)})"), uncollected():
        from panoweave.core.diffusion.errors import DiffusionError
        from panoweave.worker.model import load_credentials, load_model

        try:
            credentials = load_credentials(settings)
            return load_model(settings), credentials
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
                "memory ran out, even with one window at a time",
                "a smaller picture, or PANOWEAVE_DTYPE=float16",
            ) from error
        progress.update(bar, phase="done")
        return panorama


def _report(panorama: Panorama, output: Path, took_s: float) -> None:
    width, height = panorama.image.size
    print_line(
        f"[bold]{escape(str(output))}[/]  {width} x {height} px, seed {panorama.seed}, "
        f"made in {took_s:.1f} s"
    )
    for lora in panorama.loras:
        out.print(f"LoRA {escape(lora.name)}, scale {lora.scale:g}")
    if panorama.coherence is not None:
        out.print(
            f"Intra-LPIPS {panorama.coherence.intra_lpips:.3f} ({panorama.coherence.lpips_net}); "
            "lower is more coherent"
        )
    for unknown in panorama.unknown_words:
        out.print(
            f"[yellow]{option_name(unknown.field)}[/] has words that the model was not trained on: "
            f"{escape(', '.join(unknown.words))}"
        )
    for warning in panorama.quality_warnings:
        out.print(f"[yellow]{option_name(warning.field)}[/] {escape(warning.detail)}")
    for prompt in panorama.truncated_prompts:
        out.print(
            f"[yellow]{option_name(prompt.field)}[/] is longer than the {prompt.limit} tokens that "
            f"the model reads; it did not read: {escape(repr(prompt.text))}"
        )
