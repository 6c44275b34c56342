"""The `panoweave` command.

Each command imports its module when it runs, so that `panoweave --help` loads neither torch nor the
servers, and a process loads only its own part.
"""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from panoweave.core.output import SUFFIXES
from panoweave.deploy.environment import leave_loopback_to_no_proxy
from panoweave.deploy.errors import DeployError
from panoweave.deploy.render_options import to_request, with_parameter_options
from panoweave.deploy.terminal import print_error

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: many options, with long names
    pretty_exceptions_enable=False,  # these go to log files: plain, and without local variables
    help="Make wide, coherent panoramas from text, on this machine or as a service.",
)

DataDir = Annotated[
    Path,
    typer.Option("--data", help="The directory with the local stack's data."),
]


@app.command()
def up(
    data: DataDir = Path("var"),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API. Default: PANOWEAVE_PORT."),
    ] = None,
) -> None:
    """Run the whole stack here until Ctrl-C.

    The data stays in the directory of --data.
    """
    from panoweave.deploy.local.up import run_up

    raise typer.Exit(run_up(data, port))


@app.command()
def demo(
    prompt: Annotated[
        str, typer.Argument(envvar="PROMPT", help="What the panorama shows.")
    ] = "a lake",
    data: DataDir = Path("var"),
    out: Annotated[Path, typer.Option(help="The directory for the two pictures.")] = Path("out"),
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API. Default: a free one."),
    ] = None,
) -> None:
    """Start the stack and make two panoramas to compare.

    Both go over HTTP and have the same seed; one is made without SyncDiffusion.
    """
    from panoweave.deploy.demo import run_demo

    raise typer.Exit(run_demo(prompt, data=data, out=out, port=port))


@app.command()
@with_parameter_options
def render(
    output: Annotated[
        Path, typer.Option("-o", "--output", help=f"The file to write: {', '.join(SUFFIXES)}.")
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(help="What the panorama shows. Needed unless the --params file has it."),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with parameters as in POST /panoramas, without model, webhook and "
            "metadata. "
            'A picture may be {"file": "a/path.png"}, relative to the current directory. Options '
            "override the file."
        ),
    ] = None,
    **parameters: Any,
) -> None:
    """Make one panorama here, without servers."""
    from panoweave.deploy.render import run_render

    asked = to_request(parameters) | ({} if prompt is None else {"prompt": prompt})
    raise typer.Exit(run_render(asked, output, params))


@app.command()
def api() -> None:
    """Run the HTTP API in this process."""
    from panoweave.deploy.serve.processes import run_api

    raise typer.Exit(run_api())


@app.command()
def worker(
    gpus: Annotated[
        int, typer.Option(min=1, max=64, help="How many GPUs make each panorama together.")
    ] = 1,
) -> None:
    """Run one worker in this process.

    It loads the model once, then makes panoramas until it is stopped. With several GPUs it starts a
    process for each.
    """
    from panoweave.deploy.serve.processes import run_worker

    raise typer.Exit(run_worker(gpus))


@app.command()
def janitor() -> None:
    """Run the janitor in this process.

    It requeues the jobs of lost workers, sends webhooks and removes orphaned objects.
    """
    from panoweave.deploy.serve.processes import run_janitor

    raise typer.Exit(run_janitor())


@app.command()
def doctor(data: DataDir = Path("var")) -> None:
    """Check what a panorama needs.

    That is Redis, S3, the model, the perceptual weights and the device. Each failure comes with
    what to do about it.
    """
    from panoweave.deploy.doctor.report import run_doctor

    raise typer.Exit(run_doctor(data))


@app.command()
def recover(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be restored.")
    ] = False,
    data: DataDir = Path("var"),
) -> None:
    """Rebuild the records of finished panoramas from S3, after Redis was lost.

    Run it where `panoweave keys create` would run. What Redis knows stays as it is.
    """
    from panoweave.deploy.admin.recover import run_recover

    raise typer.Exit(run_recover(data, dry_run=dry_run))


@app.command()
def prefetch() -> None:
    """Download what the worker will need.

    That is the checkpoint, what is loaded beside it, and the perceptual weights, as the settings
    name them.
    """
    from panoweave.deploy.prefetch import run_prefetch

    raise typer.Exit(run_prefetch())


keys = typer.Typer(no_args_is_help=True, help="Manage API keys, which say who may use the API.")
app.add_typer(keys, name="keys")


@keys.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="The tenant that the key belongs to.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="read, write (includes read), scaling (only how much work there is) or admin. "
            "May be repeated."
        ),
    ] = ["write"],  # noqa: B006  typer reads it, nobody changes it
    data: DataDir = Path("var"),
) -> None:
    """Create a key and print its token, which cannot be shown again.

    Run it on the machine of `panoweave up`, with the same --data; for any other deployment, run it
    where PANOWEAVE_REDIS_URL names the Redis of the API (with Docker Compose: `docker compose exec
    api panoweave keys create`).
    """
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.create(tenant, scope, data))


@keys.command("list")
def list_keys(data: DataDir = Path("var")) -> None:
    """List all keys, without their tokens."""
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.show(data))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID")], data: DataDir = Path("var")
) -> None:
    """Revoke a key: the API refuses it from now on."""
    from panoweave.deploy.admin import api_keys as commands

    raise typer.Exit(commands.revoke(key_id, data))


secrets = typer.Typer(no_args_is_help=True, help="Manage the secrets that sign webhooks.")
app.add_typer(secrets, name="webhook-secrets")

Tenant = Annotated[str, typer.Option(help="The tenant whose webhooks the secret signs.")]


@secrets.command("create")
def create_secret(tenant: Tenant, data: DataDir = Path("var")) -> None:
    """Create a secret and print it; it cannot be shown again.

    The tenant's older secrets sign too, until they are revoked. Run it where `panoweave keys
    create` would run.
    """
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.create(tenant, data))


@secrets.command("list")
def list_secrets(tenant: Tenant, data: DataDir = Path("var")) -> None:
    """List the ids of a tenant's secrets, newest first."""
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.show(tenant, data))


@secrets.command("revoke")
def revoke_secret(
    secret_id: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Tenant,
    data: DataDir = Path("var"),
) -> None:
    """Revoke a secret: no webhook is signed with it from now on."""
    from panoweave.deploy.admin import webhook_secrets as commands

    raise typer.Exit(commands.revoke(tenant, secret_id, data))


def main() -> None:
    # At its end the interpreter would look through all that torch and diffusers made: a second.
    atexit.register(gc.freeze)
    leave_loopback_to_no_proxy()
    try:
        app()
    except DeployError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        # Without extras, `pip install panoweave` brings no more than the command's --help.
        remedy = 'pip install "panoweave[embedded]" brings every part'
        print_error(DeployError(f"this needs {error.name}, which is not installed", remedy))
        sys.exit(DeployError.exit_code)


if __name__ == "__main__":
    main()
