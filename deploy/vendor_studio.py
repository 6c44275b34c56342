"""Fetches the studio's libraries into service/studio/static/vendor, with `npm`.

    python -m panoweave.deploy.vendor_studio

The files are committed as they come from npm: the studio works offline and has no build step. The
integrity of each archive stands here; vendor.json lists the files with their hashes, and a test
compares them. To update a library, change its version and its integrity (`npm view NAME@VERSION
dist.integrity`), run this, and run the browser tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path("service/studio/static/vendor")
MANIFEST: Final = "vendor.json"


@dataclass(frozen=True)
class Library:
    name: str
    version: str
    licence: str
    integrity: str
    files: Mapping[str, str]  # in the archive, and here


LIBRARIES: Final = (
    Library(
        "@photo-sphere-viewer/core",
        "5.15.1",
        "MIT",
        "sha512-nhJviczUB1xiAT/I7mGba9iDIw7DvsiK34hbR9t7kIrg9MySG33uA+a4QUk2dEOP5PjcKMj58wod8I/dQ7ePiw==",
        {
            "index.module.js": "photo-sphere-viewer/index.module.js",
            "index.css": "photo-sphere-viewer/index.css",
            "LICENSE": "photo-sphere-viewer/LICENSE",
        },
    ),
    # The version that photo-sphere-viewer names as its peer.
    Library(
        "three",
        "0.185.1",
        "MIT",
        "sha512-5aojFCXKwnjBRZvUnt3WFfEcvUJgkN5LlijRFN95hMy8WVkG4I0QNcJE+OuWvuJ0bOdStrbfXn0pkd6/QyiAlg==",
        {
            "build/three.module.min.js": "three/three.module.min.js",
            "build/three.core.min.js": "three/three.core.min.js",
            "LICENSE": "three/LICENSE",
        },
    ),
    Library(
        "openseadragon",
        "6.1.1",
        "BSD-3-Clause",
        "sha512-g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrlYWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw==",
        {
            "build/openseadragon/openseadragon.min.js": "openseadragon/openseadragon.min.js",
            "LICENSE.txt": "openseadragon/LICENSE.txt",
        },
    ),
)


def fetch(library: Library, target: Path) -> dict[str, Any]:
    """Write the library's files below `target`, and return its entry of the manifest."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"{library.name}@{library.version}"
        command = ["npm", "pack", "--silent", "--pack-destination", folder, source]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        found = hashlib.sha512(archive.read_bytes()).digest()
        if f"sha512-{base64.b64encode(found).decode()}" != library.integrity:
            raise SystemExit(f"{source}: the archive is not the one whose integrity is known")
        hashes = {}
        with tarfile.open(archive) as files:
            for path, name in library.files.items():
                stream = files.extractfile(f"package/{path}")
                if stream is None:
                    raise SystemExit(f"{source}: {path} is not a file")
                content = stream.read()
                file = target / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                hashes[name] = f"sha256-{hashlib.sha256(content).hexdigest()}"
    return {
        "name": library.name,
        "version": library.version,
        "licence": library.licence,
        "integrity": library.integrity,
        "files": hashes,
    }


def main() -> None:
    entries = [fetch(library, TARGET) for library in LIBRARIES]
    (TARGET / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n")
    print(f"{len(entries)} libraries are in {TARGET}")


if __name__ == "__main__":
    main()
