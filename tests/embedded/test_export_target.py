"""A checkpoint is replaced; a directory with anything else in it is left alone."""

from pathlib import Path

import pytest

from panoweave.core.embedded.export_target import check_export_target, clear_export_target
from panoweave.core.embedded.train import main


def test_a_checkpoint_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    (target / "controlnet").mkdir(parents=True)
    (target / "model_index.json").write_text("{}")
    clear_export_target(target)
    assert not target.exists()


def test_a_new_or_empty_directory_is_accepted(tmp_path: Path) -> None:
    check_export_target(tmp_path / "new")
    check_export_target(tmp_path)


def test_other_files_are_kept(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(ValueError, match="no checkpoint"):
        clear_export_target(tmp_path)
    with pytest.raises(ValueError, match="not a directory"):
        clear_export_target(thesis)
    assert thesis.read_text() == "years of work"


def test_the_command_refuses_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit):
        main(["--work", str(work), "--out", str(out)])
    assert "--out" in capsys.readouterr().err
    assert (out / "thesis.tex").exists()
    assert not work.exists()
