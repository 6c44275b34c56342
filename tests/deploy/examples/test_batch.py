"""examples/batch.py: a panorama for each row, none twice, however often it is interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.deploy.examples.service import EXAMPLES, Service, next_line

ROWS = """name,prompt,seed,width,steps
lake,a lake,1,128,2
hill,a hill,2,144,2
sea,the sea,3,160,2
"""


def test_an_interrupted_batch_goes_on_and_makes_nothing_twice(
    service: Service, tmp_path: Path
) -> None:
    (tmp_path / "places.csv").write_text(ROWS)
    before = {panorama["id"] for panorama in service.panoramas()}
    with service.running("batch.py", "places.csv", "--out", "pictures", cwd=tmp_path) as batch:
        assert next_line(batch).startswith("lake: pano_")
        batch.kill()
    again = service.run("batch.py", "places.csv", "--out", "pictures", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "lake" not in again.stdout  # its picture is there
    assert len({panorama["id"] for panorama in service.panoramas()} - before) == 3
    sizes = {}
    for file in (tmp_path / "pictures").iterdir():
        with Image.open(file) as picture:
            sizes[file.name] = picture.size
    assert sizes == {"lake.png": (128, 64), "hill.png": (144, 64), "sea.png": (160, 64)}


def test_the_csv_file_of_the_examples_is_legal(service: Service, tmp_path: Path) -> None:
    header, *rows = (EXAMPLES / "panoramas.csv").read_text().splitlines()
    assert header == ROWS.splitlines()[0]
    fewer_steps = [f"{row.rpartition(',')[0]},2" for row in rows]
    (tmp_path / "panoramas.csv").write_text("\n".join([header, *fewer_steps]))
    done = service.run("batch.py", "panoramas.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "pictures").iterdir())) == len(rows) > 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,prompt,speed\nlake,a lake,3\n", "unknown columns: speed"),
        ("name,prompt\nlake,a lake\nlake,a hill\n", "line 3: name 'lake'"),
        ("name,prompt\n../lake,a lake\n", "line 2: name '../lake'"),
        ("name,prompt,width\nlake,a lake,wide\n", "line 2: width 'wide'"),
        ("name,prompt,width\nlake,a lake,101\n", "lake: invalid_params: width"),
    ],
)
def test_a_wrong_row_is_named(service: Service, tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "places.csv").write_text(rows)
    done = service.run("batch.py", "places.csv", "--batch", "wrong", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
