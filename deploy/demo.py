"""`panoweave demo`: one prompt through the whole stack, with and without SyncDiffusion.

It starts `panoweave up` as a user would, then speaks HTTP only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import JobFailed, ServerRefused
from panoweave.deploy.local.background import background_stack
from panoweave.deploy.local.data_dir import DataDir
from panoweave.deploy.local.ports import LOOPBACK
from panoweave.deploy.terminal import out as terminal
from panoweave.deploy.terminal import panorama_progress, print_line
from panoweave_client import ApiError, Event, PanoramaFailed, Panoweave, PanoweaveError
from panoweave_client.answers import PanoramaView, ResultView

_SEED = 1  # fixed, so that a new user sees pictures that somebody has looked at


@dataclass(frozen=True)
class _Made:
    panorama: PanoramaView
    file: Path
    took_s: float

    @property
    def result(self) -> ResultView:
        assert self.panorama.result is not None
        return self.panorama.result

    @property
    def intra_lpips(self) -> float:
        return float(self.result.coherence["intra_lpips"])


def run_demo(
    prompt: str,
    *,
    data: Path,
    out: Path,
    port: int | None,
    asked: Mapping[str, Any] | None = None,
) -> int:
    """`asked`: more fields of the request, for tests that need a small panorama."""
    begun = time.monotonic()
    with background_stack(data, port) as api_url:
        started_s = time.monotonic() - begun
        print_line(f"the stack answers at {api_url} (started in {started_s:.1f} s)")
        request = {"prompt": prompt, "seed": _SEED, **(asked or {})}
        print_line(f"POST {api_url}/panoramas  {escape(json.dumps(request))}")
        with _refusals_explained(), Panoweave(api_url) as client:
            sync = _make(client, "SyncDiffusion", request, out / "panorama.png")
            multidiffusion = {"preset": "paper", "sync": {"weight": 0}}
            plain = _make(
                client, "MultiDiffusion", request | multidiffusion, out / "multidiffusion.png"
            )
    terminal.print(_comparison(prompt, sync, plain))
    terminal.print(
        "Intra-LPIPS is the mean distance between the panorama's windows: lower is more coherent."
    )
    print_line(f"[bold green]{escape(str(sync.file))}[/]  the panorama")
    print_line(f"[bold]{escape(str(plain.file))}[/]  the same seed without SyncDiffusion")
    terminal.print(
        f"whole demo: {time.monotonic() - begun:.0f} s, of which starting the stack "
        f"{started_s:.0f} s, SyncDiffusion {sync.took_s:.0f} s, MultiDiffusion {plain.took_s:.0f} s"
    )
    print_line(escape(_invitation(data, sync.panorama.id)))
    return 0


def _invitation(data: Path, panorama_id: str) -> str:
    """Where the panorama can be looked at in a browser."""
    running = DataDir(data).running()
    base = running.api_url if running else f"http://{LOOPBACK}:{read_settings().port}"
    first = "" if running else "run `panoweave up` and "
    address = f"{base}/#/panoramas/{panorama_id}"
    return f"To look at it in a browser and make your own, {first}open {address}"


@contextmanager
def _refusals_explained() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        remedy = "set PANOWEAVE_API_KEY: `panoweave keys create --tenant NAME` makes one"
        needs_key = error.status == HTTPStatus.UNAUTHORIZED
        raise ServerRefused(f"the API refused: {error}", remedy if needs_key else "") from error
    except PanoramaFailed as error:
        raise JobFailed(str(error)) from error
    except PanoweaveError as error:
        raise ServerRefused(str(error)) from error


def _make(client: Panoweave, label: str, request: dict[str, Any], file: Path) -> _Made:
    """Post the request, show its progress, download the picture."""
    begun = time.monotonic()
    with panorama_progress() as progress:
        bar = progress.add_task(label, total=1.0, phase="queued", eta_s=None)

        def show(event: Event) -> None:
            report = event.progress
            fraction = report.fraction if report else 0.0
            progress.update(
                bar,
                completed=1.0 if event.status == "succeeded" else fraction,
                phase=_phase(event),
                eta_s=report.eta_s if report else None,
            )

        panorama = client.make(**request, on_event=show)
    file.parent.mkdir(parents=True, exist_ok=True)
    client.download(panorama.id, file)
    return _Made(panorama, file, time.monotonic() - begun)


def _phase(event: Event) -> str:
    report = event.progress
    if report is None:
        return event.status
    at = f", step {report.step} of {report.total_steps}" if report.step else ""
    return f"{report.phase}{at}"


def _comparison(prompt: str, sync: _Made, plain: _Made) -> Table:
    result, params = sync.result, sync.panorama.params
    table = Table(title=f"“{escape(prompt)}”", title_justify="left")
    table.add_column("")
    table.add_column("SyncDiffusion", justify="right", style="bold green")
    table.add_column("MultiDiffusion", justify="right")
    table.add_row("Intra-LPIPS", f"{sync.intra_lpips:.4f}", f"{plain.intra_lpips:.4f}")
    table.add_row("ratio", f"{sync.intra_lpips / plain.intra_lpips:.2f}", "1.00")
    table.add_row("made in", f"{sync.took_s:.1f} s", f"{plain.took_s:.1f} s")
    for part in result.timings_s:
        table.add_row(f"  {part}", *(_seconds(made, part) for made in (sync, plain)))
    table.add_row("size", *[f"{result.width} x {result.height} px"] * 2)
    table.add_row("seed", *[str(params.seed)] * 2)
    return table


def _seconds(made: _Made, part: str) -> str:
    taken = made.result.timings_s.get(part)
    return "" if taken is None else f"{taken:.1f} s"
