"""What one exact step of a full-size model holds in memory, and what gradient
checkpointing saves.

    python -m bench.sd2_random FOLDER
    python -m bench.memory --checkpoint FOLDER [--report docs/benchmarks.md]

Each row is a process of its own: a panorama of 3 windows by 1, one synchronised step of preset
`paper`. On a GPU the peak of what torch allocates, else of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from bench.sections import finish_kernels, machine, parser, publish, table
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.params import PanoramaParams

ROWS = ((2, False), (1, False), (1, True))  # windows at once, gradient checkpointing


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--checkpoint", type=Path, required=True)
    options.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.row:
        print(json.dumps(measure(asked.checkpoint, *asked.row)))
        return
    rows = []
    for windows, checkpointing in ROWS:
        command = [sys.executable, "-m", "bench.memory", "--checkpoint", str(asked.checkpoint)]
        done = subprocess.run(
            [*command, "--row", json.dumps([windows, checkpointing])],
            stdout=subprocess.PIPE,
            text=True,
        )
        head_of_row = [f"{windows}", "yes" if checkpointing else "no"]
        if done.returncode == -signal.SIGKILL:  # Linux, where memory is out
            rows.append([*head_of_row, f"more than {_all_gib():.0f} GiB", "", ""])
        else:
            done.check_returncode()
            peak_mib, rest_mib, took_s = json.loads(done.stdout.splitlines()[-1])
            figures = [f"{peak_mib:,.0f} MiB", f"{peak_mib - rest_mib:,.0f} MiB", f"{took_s:.0f}"]
            rows.append([*head_of_row, *figures])
        print(rows[-1], flush=True)
    head = ["windows at once", "gradient checkpointing", "peak", "of it the step's", "seconds"]
    text = f"`python -m bench.memory` on {machine()}.\n\n{table(head, rows)}"
    publish("memory", text, asked.report)


def measure(checkpoint: Path, windows: int, checkpointing: bool) -> tuple[float, float, float]:
    """Peak memory, that of the loaded model alone (both in MiB), and the step's seconds."""
    pipeline = load_pipeline(str(checkpoint), perceptual="stlpips-alex")
    pipeline.meter = None
    if checkpointing:
        pipeline.set_gradient_checkpointing(True)
    side = pipeline.traits.window_px
    params = PanoramaParams(
        prompt="a lake", preset="paper", seed=1, steps=1, width=3 * side, stride=side
    )
    resolved = params.resolve(pipeline.traits)
    with torch.no_grad():
        noise = pipeline.draw_noise(resolved)
        embeddings = pipeline.encode_prompt(resolved.prompt, "")
        rest_mib = _held_mib()
        begun = time.perf_counter()
        pipeline.sample(noise, resolved, embeddings, window_batch=windows)
        finish_kernels()
    return _peak_mib(), rest_mib, time.perf_counter() - begun


def _all_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _held_mib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
