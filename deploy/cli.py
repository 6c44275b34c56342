"""The `panoweave` command: the composition root, which may import anything and does so lazily.

Each command's body is a module of its own, so that `panoweave --help` reads neither torch nor
the servers, and a process pays only for the part that it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.deploy.errors import DeployError
from panoweave.deploy.terminal import print_error

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # these go to log files: plain, and without local variables
    help="Wide, coherent panoramas from text: on this machine, or as a service.",
)

DataDir = Annotated[
    Path, typer.Option("--data", help="Where Redis, S3, logs and credentials of the stack live.")
]


def _describe(name: str) -> str:
    """An option's help text from the parameters themselves, the only home of their defaults."""
    section, _, leaf = name.rpartition(".")
    field = (SyncParams if section else PanoramaParams).model_fields[leaf]
    text = field.description or ""
    return text if field.default in (None, "") else f"{text} Default: {field.default}.".strip()


@app.command()
def up(
    data: DataDir = Path("var"),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API. Default: PANOWEAVE_PORT."),
    ] = None,
) -> None:
    """Run the whole stack on this machine until Ctrl-C; its data stays in ./var."""
    from panoweave.deploy.local.up import run_up

    raise typer.Exit(run_up(data, port))


@app.command()
def demo(
    prompt: Annotated[
        str, typer.Argument(envvar="PROMPT", help="What the panorama shows.")
    ] = "a lake",
    data: DataDir = Path("var"),
    out: Annotated[Path, typer.Option(help="Folder for the two pictures.")] = Path("out"),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the API. Default: a free one.")
    ] = None,
) -> None:
    """Make one panorama over HTTP, and the same one without SyncDiffusion to compare."""
    from panoweave.deploy.demo import run_demo

    raise typer.Exit(run_demo(prompt, data=data, out=out, port=port))


@app.command()
def render(
    prompt: Annotated[str, typer.Argument(help="What the panorama shows.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write: .png, .jpg, .webp or .avif.")
    ],
    width: Annotated[int | None, typer.Option(help=_describe("width"))] = None,
    height: Annotated[int | None, typer.Option(help=_describe("height"))] = None,
    seed: Annotated[int | None, typer.Option(help=_describe("seed"))] = None,
    stride: Annotated[int | None, typer.Option(help=_describe("stride"))] = None,
    steps: Annotated[int | None, typer.Option(help=_describe("steps"))] = None,
    guidance_scale: Annotated[float | None, typer.Option(help=_describe("guidance_scale"))] = None,
    preset: Annotated[str | None, typer.Option(help=_describe("preset"))] = None,
    loop: Annotated[bool, typer.Option("--loop", help=_describe("loop"))] = False,
    negative_prompt: Annotated[str | None, typer.Option(help="What to keep out of it.")] = None,
    sync_weight: Annotated[float | None, typer.Option(help=_describe("sync.weight"))] = None,
    params: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with any fields of POST /panoramas; a picture may be "
            '{"file": "a/path.png"}. Options overrule it.'
        ),
    ] = None,
) -> None:
    """Make one panorama here and now: no queue, no servers, the same core."""
    from panoweave.deploy.render import run_render

    asked = {
        "prompt": prompt,
        "width": width,
        "height": height,
        "seed": seed,
        "stride": stride,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "preset": preset,
        "loop": loop or None,
        "negative_prompt": negative_prompt,
        "sync": None if sync_weight is None else {"weight": sync_weight},
    }
    given = {name: value for name, value in asked.items() if value is not None}
    raise typer.Exit(run_render(given, output, params))


@app.command()
def api() -> None:
    """Run the HTTP API, one process, as the settings say."""
    from panoweave.deploy.serve.processes import run_api

    raise typer.Exit(run_api())


@app.command()
def worker() -> None:
    """Run one worker: loads the model once, then makes panoramas until it is stopped."""
    from panoweave.deploy.serve.processes import run_worker

    raise typer.Exit(run_worker())


@app.command()
def janitor() -> None:
    """Run the janitor: it brings back the jobs of workers that died."""
    from panoweave.deploy.serve.processes import run_janitor

    raise typer.Exit(run_janitor())


@app.command()
def doctor(data: DataDir = Path("var")) -> None:
    """Check Redis, S3, model, perceptual weights and device; say what to do about each failure."""
    from panoweave.deploy.doctor.report import run_doctor

    raise typer.Exit(run_doctor(data))


@app.command()
def prefetch() -> None:
    """Download the configured checkpoint and perceptual weights before they are needed."""
    from panoweave.deploy.prefetch import run_prefetch

    raise typer.Exit(run_prefetch())


keys = typer.Typer(no_args_is_help=True, help="API keys: who may use the API.")
app.add_typer(keys, name="keys")


@keys.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whose panoramas it makes and sees.")],
    scope: Annotated[
        list[str], typer.Option(help="read, write (and read), or admin. May be given again.")
    ] = ["write"],  # noqa: B006  typer reads it, nobody changes it
    data: DataDir = Path("var"),
) -> None:
    """Make a key and show its token, this once."""
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.create(tenant, scope, data))


@keys.command("list")
def list_keys(data: DataDir = Path("var")) -> None:
    """Show all keys; never their tokens."""
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.show(data))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID")], data: DataDir = Path("var")
) -> None:
    """Let nobody in with it from now on."""
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.revoke(key_id, data))


secrets = typer.Typer(no_args_is_help=True, help="What the webhooks of a tenant are signed with.")
app.add_typer(secrets, name="webhook-secrets")

Tenant = Annotated[str, typer.Option(help="Whose webhooks it signs.")]


@secrets.command("create")
def create_secret(tenant: Tenant, data: DataDir = Path("var")) -> None:
    """Make a secret and show it, this once. Older ones sign too, until they are revoked."""
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.create(tenant, data))


@secrets.command("list")
def list_secrets(tenant: Tenant, data: DataDir = Path("var")) -> None:
    """Show a tenant's secrets by their ids, newest first; never the secrets."""
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.show(tenant, data))


@secrets.command("revoke")
def revoke_secret(
    secret_id: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Tenant,
    data: DataDir = Path("var"),
) -> None:
    """Sign no more with it."""
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.revoke(tenant, secret_id, data))


def main() -> None:
    try:
        app()
    except DeployError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        # `pip install panoweave` alone brings the parameters; each part has its extra.
        remedy = 'pip install "panoweave[embedded]" brings every part'
        print_error(DeployError(f"this needs {error.name}, which is not installed", remedy))
        sys.exit(DeployError.exit_code)


if __name__ == "__main__":
    main()
