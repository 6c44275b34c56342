"""Make a panorama for each row of a CSV file. Interrupt it and run it again: nothing is made twice.

    python examples/batch.py panoramas.csv --out pictures

The CSV has a header. `name` and `prompt` are required; `width`, `height`, `seed`, `steps`,
`preset` and `model` are optional. Each picture is saved as `<out>/<name>.png`. Needs `httpx`. The
environment variables PANOWEAVE_URL and PANOWEAVE_API_KEY name the service and the API key.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

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


def submit(http: httpx.Client, row: Row, batch: str) -> dict[str, Any]:
    """Post a row until the service accepts it. The same key and row give the same panorama."""
    headers = {"Idempotency-Key": f"{batch}:{row.name}"}
    while True:
        try:
            answer = http.post("/panoramas", json=row.request, headers=headers)
        except httpx.TransportError as error:
            print(f"{row.name}: {error}; trying again", file=sys.stderr)
            time.sleep(2)
            continue
        body: dict[str, Any] = answer.json()
        if answer.is_success:
            return body
        if "Retry-After" not in answer.headers:
            sys.exit(f"{row.name}: {body['code']}: {body['detail']}")
        time.sleep(float(answer.headers["Retry-After"]))


def wait(http: httpx.Client, panorama_id: str) -> dict[str, Any]:
    while True:
        try:
            answer = http.get(f"/panoramas/{panorama_id}", headers={"Prefer": "wait=60"})
        except httpx.TransportError:
            time.sleep(2)
            continue
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            time.sleep(float(answer.headers["Retry-After"]))
            continue
        panorama: dict[str, Any] = answer.raise_for_status().json()
        if panorama["status"] not in ("queued", "running"):
            return panorama


def save(http: httpx.Client, panorama_id: str, target: Path) -> None:
    picture = http.get(f"/panoramas/{panorama_id}/image", follow_redirects=True)
    partial = target.with_suffix(".part")
    partial.write_bytes(picture.raise_for_status().content)
    partial.replace(target)  # a file under its own name is complete


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

    api_key = os.environ.get("PANOWEAVE_API_KEY")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    url = os.environ.get("PANOWEAVE_URL", "http://127.0.0.1:8000")
    failed = 0
    with httpx.Client(base_url=url, headers=headers, timeout=70) as http:
        ids = {row.name: submit(http, row, batch)["id"] for row in rows}
        for name, panorama_id in ids.items():
            panorama = wait(http, panorama_id)
            if panorama["status"] == "succeeded":
                save(http, panorama_id, given.out / f"{name}.png")
            failed += panorama["status"] != "succeeded"
            print(f"{name}: {panorama_id} {panorama['status']}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
