"""`panoweave up`: the stack in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
from pathlib import Path

from rich.markup import escape

from panoweave.deploy.environment import read_settings
from panoweave.deploy.local.data_dir import DataDir
from panoweave.deploy.local.stack import Stack
from panoweave.deploy.local.stop_request import StopRequest
from panoweave.deploy.terminal import out, print_line


def run_up(data: Path, port: int | None) -> int:
    settings = read_settings()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    home = DataDir(data)
    stop = StopRequest(home.logs / "up.stacks.log")
    stop.listen()
    with home.hold():
        stack = Stack(home, settings, _say)
        try:
            with out.status("starting Redis and S3") as status:
                ready = stack.start(stop.wait) and stack.wait_until_ready(
                    stop.wait, lambda text: status.update(escape(text))
                )
            if ready:
                _welcome(stack, home)
            while not stop.wait(0.5):
                stack.tend()
            out.print("stopping the API, the worker, the janitor, S3 and Redis, in this order")
        finally:
            stack.stop(lambda: stop.in_a_hurry)
    print_line(f"stopped; the data stays in {escape(_shown(home.root))}")
    return 0


def _say(text: str) -> None:
    print_line(escape(text))


def _welcome(stack: Stack, home: DataDir) -> None:
    out.print("[bold green]panoweave is up.[/] Ctrl-C stops it; the data stays.\n")
    rows = {
        "studio": f"{stack.api_url}/",
        "API": stack.api_url,
        "docs": f"{stack.api_url}/docs",
        "S3": f"{stack.s3_endpoint}",
        "metrics": " ".join(stack.metrics_urls),
        "data": _shown(home.root),
        "logs": _shown(home.logs),
    }
    for name, value in rows.items():
        print_line(f"  {name:<7} {escape(value)}")
    out.print(
        "\nOpen the studio in a browser, or ask for a panorama:\n\n"
        f"  curl -s {stack.api_url}/panoramas "
        "-H 'Content-Type: application/json' "
        '-d \'{"prompt": "a mountain lake at dawn"}\'\n',
        soft_wrap=True,
        markup=False,
    )


def _shown(path: Path) -> str:
    """Relative to the current directory, where the path lies in it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
