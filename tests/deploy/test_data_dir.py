from __future__ import annotations

from pathlib import Path

import pytest

from panoweave.deploy.errors import StackAlreadyRunning
from panoweave.deploy.local.data_dir import DataDir, Ports, StackState


def test_credentials_are_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    home = DataDir(tmp_path / "var")
    with home.hold():
        made = home.credentials()
        assert home.credentials() == made
    assert DataDir(tmp_path / "var").credentials() == made
    assert DataDir(tmp_path / "var").root.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_ports_are_kept(tmp_path: Path) -> None:
    home = DataDir(tmp_path)
    assert home.ports() is None
    home.keep_ports(Ports(redis=20_001, s3=20_002))
    assert DataDir(tmp_path).ports() == Ports(redis=20_001, s3=20_002)


def test_one_stack_at_a_time(tmp_path: Path) -> None:
    home = DataDir(tmp_path)
    state = StackState(pid=1, api_url="http://127.0.0.1:8000", ready=True, children={"redis": 2})
    with home.hold():
        home.publish(state)
        assert DataDir(tmp_path).running() == state
        with pytest.raises(StackAlreadyRunning, match="8000"), DataDir(tmp_path).hold():
            pass
        assert home.running() == state, "a refused second stack leaves the first one's traces"
    assert DataDir(tmp_path).running() is None


def test_what_a_killed_stack_left_is_not_a_running_stack(tmp_path: Path) -> None:
    home = DataDir(tmp_path)
    home.publish(StackState(pid=1, api_url="http://127.0.0.1:8000", ready=True, children={}))
    assert home.running() is None
    with home.hold():
        assert home.running() is None


def test_the_settings_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    home = DataDir(tmp_path)
    written = {"PANOWEAVE_A": "plain", "PANOWEAVE_B": "two words, 'quoted'", "PANOWEAVE_C": ""}
    home.publish_env(written)
    assert home.read_env() == written
    assert home.env_file.stat().st_mode & 0o777 == 0o600


def test_prompts_and_pictures_are_for_the_owner_alone(tmp_path: Path) -> None:
    """Also where the directory was there before, made by something less careful."""
    (tmp_path / "var").mkdir(mode=0o755)
    with DataDir(tmp_path / "var").hold():
        assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
