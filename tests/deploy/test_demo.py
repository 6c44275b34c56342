"""`panoweave demo`, which `make demo` runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.deploy.admin.tenants import redis_of
from panoweave.deploy.demo import run_demo
from panoweave.deploy.errors import ServerRefused
from tests.deploy.stack import Cli, RunningStack, is_alive


def test_on_a_stack_that_runs_it_leaves_it_running(
    stack: RunningStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"steps": 2, "width": 192}
    pid = stack.state().children["worker"]
    assert run_demo("hills", data=stack.home.root, out=tmp_path, port=None, asked=asked) == 0
    assert is_alive(pid)
    said = capsys.readouterr().out
    assert "Intra-LPIPS" in said
    assert "ratio" in said
    assert f"open {stack.http.base_url}/#/panoramas/pano_" in said
    sync = Image.open(tmp_path / "panorama.png")
    plain = Image.open(tmp_path / "multidiffusion.png")
    assert sync.size == plain.size == (192, 64)
    assert sync.tobytes() != plain.tobytes()


def test_what_the_server_refuses_is_passed_on(stack: RunningStack, tmp_path: Path) -> None:
    with pytest.raises(ServerRefused, match="width"):
        run_demo("hills", data=stack.home.root, out=tmp_path, port=None, asked={"width": 1})


def test_where_there_are_keys_it_takes_one(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_of(stack.home.root) as redis:
        keys = ApiKeys(redis)
        _, token = keys.create("default", ("write",))
        try:
            with pytest.raises(ServerRefused) as refused:
                run_demo("hills", data=stack.home.root, out=tmp_path, port=None)
            assert "PANOWEAVE_API_KEY" in refused.value.remedy
            monkeypatch.setenv("PANOWEAVE_API_KEY", token)
            asked = {"steps": 2, "width": 192}
            assert (
                run_demo("hills", data=stack.home.root, out=tmp_path, port=None, asked=asked) == 0
            )
        finally:
            stack.open_again()
    assert (tmp_path / "panorama.png").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_demo_with_the_embedded_model(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "demo",
        "--data",
        str(tmp_path / "var"),
        "--out",
        str(tmp_path / "out"),
        timeout_s=840,
        PROMPT="a snowy forest",
    )
    assert done.returncode == 0, done.stderr
    assert "a snowy forest" in done.stdout
    with Image.open(tmp_path / "out" / "panorama.png") as panorama:
        assert panorama.width == 6 * panorama.height
