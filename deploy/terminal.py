"""What panoweave prints to a terminal: answers, errors, and a progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from panoweave.deploy.errors import DeployError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_line(text: str) -> None:
    """A line with a path or an address, which a program may read: not broken at 80 columns."""
    out.print(text, soft_wrap=True)


def print_error(error: DeployError) -> None:
    err.print(f"[bold red]error:[/] {escape(error.problem)}", soft_wrap=True)
    if error.remedy:
        err.print(f"[bold]what to do:[/] {escape(error.remedy)}", soft_wrap=True)


class _EtaColumn(ProgressColumn):
    """Shows the worker's own estimate; rich would derive another from the bar."""

    def render(self, task: Task) -> Text:
        eta_s = task.fields.get("eta_s")
        return Text("" if eta_s is None else f"about {eta_s:.0f} s left", style="cyan")


def panorama_progress() -> Progress:
    """A progress bar for one panorama. Its tasks have the fields `phase` and `eta_s`."""
    return Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        TextColumn("{task.fields[phase]}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _EtaColumn(),
        console=out,
    )
