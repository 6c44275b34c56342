"""The tables of docs/benchmarks.md, each written by the command that made it."""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # importing diffusers takes seconds, and bench.fleet needs none of it
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline

STYLE_SCALE = 1e6  # Gram distances are tiny numbers


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Where the figures were taken, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def of(pipeline: SyncDiffusionPipeline) -> str:
    """What the figures are of."""
    parameters = sum(parameter.numel() for parameter in pipeline.denoiser.parameters()) / 1e6
    dtype = str(pipeline.denoiser.dtype).removeprefix("torch.")
    return f"a UNet of {parameters:.0f} M parameters in {dtype}"


def finish_kernels() -> None:
    """A GPU's run on after the call that asked for them returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def parser(doc: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument(
        "--report", type=Path, help="a Markdown page whose section is replaced (default: print)"
    )
    return made


def publish(name: str, text: str, page: Path | None) -> None:
    """Print a section, and put it between its two marks in the page; a GPU's has its own."""
    print(text)
    if page is None:
        return
    begin, end = require_section(name, page)
    written = re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n\n{text}\n\n{end}",
        page.read_text(),
        flags=re.S,
    )
    page.write_text(written)


def require_section(name: str, page: Path) -> tuple[str, str]:
    """Its two marks in the page. Raises SystemExit if the page has not just one such section."""
    if torch.cuda.is_available():
        name += " on a GPU"
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if len(re.findall(f"{re.escape(begin)}.*?{re.escape(end)}", page.read_text(), re.S)) != 1:
        raise SystemExit(f"{page} has no section between {begin} and {end}")
    return begin, end
