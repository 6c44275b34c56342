"""Create a panorama, wait for it, and save the picture.

    python examples/client.py "a mountain lake at dawn" --width 1536 --seed 7 -o lake.png

Needs `panoweave-client`. The environment variables PANOWEAVE_URL and PANOWEAVE_API_KEY name the
service and the API key.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from panoweave_client import Panoweave, PanoweaveError
from panoweave_client.requests import PanoramaRequest


def main() -> None:
    parser = argparse.ArgumentParser(description="Create a panorama and save its picture.")
    parser.add_argument("prompt")
    parser.add_argument("--model", help="one of GET /models; default: the server's default")
    parser.add_argument("--width", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("panorama.png"))
    given = parser.parse_args()
    # None is the same as a field that is left out.
    request: PanoramaRequest = {
        "prompt": given.prompt,
        "model": given.model,
        "width": given.width,
        "seed": given.seed,
        "steps": given.steps,
    }
    try:
        with Panoweave() as panoweave:
            panorama = panoweave.make(**request)
            params = panorama.params
            print(f"{panorama.id}: {params.width} x {params.height} px, seed {params.seed}")
            print(panoweave.download(panorama.id, given.output))
    except PanoweaveError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
