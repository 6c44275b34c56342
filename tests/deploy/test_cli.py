"""What the command says before any server or model comes into play."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from panoweave.core.infra.settings import Settings
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import DEFAULT_PRESET
from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption
from tests.deploy.stack import Cli, environment

COMMANDS = ("up", "demo", "render", "api", "worker", "janitor", "doctor", "prefetch", "recover")


def test_help_lists_every_command(cli: Cli) -> None:
    said = cli("--help").stdout
    assert all(f" {command} " in said for command in COMMANDS)


def test_help_reads_neither_torch_nor_servers() -> None:
    program = (
        "import sys, typer.testing, panoweave.deploy.cli\n"
        "app = panoweave.deploy.cli.app\n"
        "assert typer.testing.CliRunner().invoke(app, ['render', '--help']).output\n"
        "heavy = {'torch', 'diffusers', 'boto3', 'redis', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())


def test_defaults_in_the_help_are_the_parameters_own(cli: Cli) -> None:
    assert f"Default: {DEFAULT_PRESET}" in cli("render", "--help").stdout


def test_every_parameter_with_one_value_is_an_option_of_render(cli: Cli) -> None:
    """All that the first version had, and those that were added to the fields since."""
    said = set(re.findall(r"--[a-z-]+", cli("render", "--help").stdout))
    first = "width height seed stride steps guidance-scale preset loop negative-prompt sync-weight"
    assert {f"--{name}" for name in first.split()} <= said
    single = PanoramaParams.model_fields.keys() - {
        *("prompt", "regions", "anchor_image", "extend", "control", "loras", "output", "sync")
    }
    assert {f"--{name.replace('_', '-')}" for name in single} <= said
    assert {f"--sync-{name.replace('_', '-')}" for name in SyncParams.model_fields} <= said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["", "-o", "x.png"], "PROMPT: "),
        (["-o", "x.png"], "PROMPT: Field required; legal: text of 1 to 2,000 characters"),
        (["a", "-o", "x.png", "--sync-anchor", "left"], "--sync-anchor: "),
        (["a", "-o", "x.png", "--output-quality", "0"], "legal: a whole number from 1 to 100"),
        (["a", "-o", "x.png", "--width", "0"], "--width"),
        (["a", "-o", "x.png", "--sync-weight", "-1"], "--sync-weight"),
        (["a", "-o", "x.png", "--guidance-scale", "nan"], "--guidance-scale"),
        (["a", "-o", "x.png", "--preset", "best"], "'paper', 'balanced' or 'fast'"),
        (["a", "-o", "x.gif"], ".png"),
        (["a", "-o", "/no/such/folder/x.png"], "/no/such/folder"),
    ],
)
def test_render_refuses_before_it_loads_a_model(cli: Cli, options: list[str], said: str) -> None:
    done = cli("render", *options, PYTHONPROFILEIMPORTTIME="1")
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "panoweave" in imported
    assert not {"torch", "diffusers"} & {*imported}
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_do_not_parse_are_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("up", "--data", str(tmp_path / "var"), PANOWEAVE_PORT="eight")
    assert done.returncode == 2
    assert "PANOWEAVE_PORT" in done.stderr
    assert not (tmp_path / "var").exists()


def test_variables_that_contradict_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOWEAVE_LEASE_S", "1")
    with pytest.raises(
        BadOption, match=r"^Value error, PANOWEAVE_HEARTBEAT_S .* PANOWEAVE_LEASE_S"
    ):
        read_settings()
    monkeypatch.setenv("PANOWEAVE_LORAS", '{"ink": {}}')
    with pytest.raises(BadOption, match=r"^PANOWEAVE_LORAS: ink\.source: "):
        read_settings()


def test_an_api_whose_port_is_taken_ends(cli: Cli, settings: Settings) -> None:
    """So that a supervisor hears of it: it does not hang between up and down."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = cli(
            "api",
            timeout_s=30,
            PANOWEAVE_PORT=str(other.getsockname()[1]),
            PANOWEAVE_REDIS_URL=settings.redis_url.get_secret_value(),
        )
    assert done.returncode != 0
    assert "address already in use" in done.stderr
