"""Make a panorama for each row of a CSV file. Interrupt it and run it again: nothing is made twice.

    python examples/batch.py panoramas.csv --out pictures

The CSV has a header. `name` and `prompt` are required; `width`, `height`, `seed`, `steps`,
`preset` and `model` are optional. Each picture is saved as `<out>/<name>.png`. Needs
`panoweave-client`. The environment variables PANOWEAVE_URL and PANOWEAVE_API_KEY name the service
and the API key.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from panoweave_client import ApiError, Panoweave

_NUMBERS: Final = ("width", "height", "seed", "steps")
_TEXTS: Final = ("prompt", "preset", "model")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Row(NamedTuple):
    name: str
    request: dict[str, Any]


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of the CSV file. Exits with the line's number if one is wrong."""
    seen: set[str] = set()
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        unknown = set(reader.fieldnames or ()) - {"name", *_NUMBERS, *_TEXTS}
        if unknown:
            sys.exit(f"{file}: unknown columns: {', '.join(sorted(unknown))}")
        for fields in reader:
            name = fields.get("name") or ""
            if not _NAME.fullmatch(name) or name in seen:
                sys.exit(f"{file}, line {reader.line_num}: name {name!r} is no name, or used twice")
            seen.add(name)
            request: dict[str, Any] = {key: fields[key] for key in _TEXTS if fields.get(key)}
            for key in _NUMBERS:
                if fields.get(key):
                    if not fields[key].isdecimal():
                        sys.exit(
                            f"{file}, line {reader.line_num}: {key} {fields[key]!r} is no number"
                        )
                    request[key] = int(fields[key])
            yield Row(name, request)


def submit(panoweave: Panoweave, row: Row, batch: str) -> str:
    """The panorama's id. The same key and row give the same panorama."""
    try:
        return panoweave.submit(idempotency_key=f"{batch}:{row.name}", **row.request).id
    except ApiError as refused:
        sys.exit(f"{row.name}: {refused}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a panorama for each row of a CSV file.")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--batch", help="Prefix of the idempotency keys. Default: the file's name.")
    given = parser.parse_args()
    batch = given.batch or given.csv.stem
    if not _NAME.fullmatch(batch):
        parser.error("--batch: only letters, digits, - and _, at most 100")
    given.out.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_rows(given.csv) if not (given.out / f"{row.name}.png").exists()]

    failed = 0
    with Panoweave(retry_for_s=math.inf) as panoweave:
        ids = {row.name: submit(panoweave, row, batch) for row in rows}
        for name, panorama_id in ids.items():
            status = panoweave.wait(panorama_id).status
            if status == "succeeded":
                panoweave.download(panorama_id, given.out / f"{name}.png")
            failed += status != "succeeded"
            print(f"{name}: {panorama_id} {status}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
