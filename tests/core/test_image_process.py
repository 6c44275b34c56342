"""Pictures are read in a process that may be killed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PIL import Image

from panoweave.core import image_process
from panoweave.core.image_process import BadFile, ReadersBusy, Size, to_png_files


def picture(folder: Path, name: str, size: tuple[int, int] = (8, 4), kind: str = "JPEG") -> Path:
    path = folder / name
    Image.new("RGB", size, "red").save(path, kind)
    return path


def test_files_become_png_in_their_order(tmp_path: Path) -> None:
    files = [picture(tmp_path, "0"), picture(tmp_path, "1", (5, 7), "WEBP")]
    assert to_png_files(files) == [Size(8, 4), Size(5, 7)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)


def test_the_bad_one_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "1"
    broken.write_bytes(b"\xff\xd8\xff and nothing")
    with pytest.raises(BadFile, match="broken") as refused:
        to_png_files([picture(tmp_path, "0"), broken, picture(tmp_path, "2")])
    assert refused.value.index == 1


@pytest.mark.parametrize(
    "bounds",
    [
        # A decoder that never ends, in the place of one that takes very long.
        "image_process.CPU_S = 1\nimage_process.to_png = lambda _: [0 for _ in iter(int, 1)]\n",
        "image_process.MEMORY_BYTES = 2**27\n",
    ],
    ids=["time", "memory"],
)
def test_a_reader_beyond_its_bounds_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: str
) -> None:
    limited = tmp_path / "limited.py"
    limited.write_text(
        f"import sys\nfrom panoweave.core import image_process\n{bounds}"
        "image_process.main(sys.argv[1:])\n"
    )
    big = picture(tmp_path, "big", (8_192, 8_192))
    monkeypatch.setattr(image_process, "READER", [str(limited)])
    with pytest.raises(BadFile, match="to read"):
        to_png_files([big])
    monkeypatch.undo()
    assert to_png_files([picture(tmp_path, "2")]) == [Size(8, 4)]


def test_who_finds_too_many_waiting_is_sent_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_process, "places", threading.BoundedSemaphore(1))
    with image_process.places, pytest.raises(ReadersBusy):
        to_png_files([picture(tmp_path, "0")])
    assert to_png_files([picture(tmp_path, "1")]) == [Size(8, 4)]


def test_the_reader_knows_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "spy.py"
    spy.write_text(f"import os\nopen({str(seen)!r}, 'w').write(' '.join(os.environ))\n")
    monkeypatch.setenv("PANOWEAVE_S3_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setattr(image_process, "READER", [str(spy)])
    with pytest.raises(BadFile):
        to_png_files([picture(tmp_path, "0")])
    assert "PANOWEAVE" not in seen.read_text()
