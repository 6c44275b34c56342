"""How fast panoweave is on a GPU, against the peers at their best: one command, under 8 minutes.

    python -m bench.gpu [--report docs/benchmarks.md] [--budget SECONDS] [--tiny]

Random weights of Stable Diffusion 2's size, made on the spot, in float16; 6 windows by 1 (3072 x
512). Both sides of each ratio are measured in this run, one after the other. Each row is printed,
and the page written, as soon as it is measured. A row that fails, or that comes after the time is
up, says so. `--tiny` rehearses it on a CPU with a tiny model, whose figures mean nothing: its table
says of each row that it was not measured.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from bench import gpu_ideas, gpu_parts, sd2_random
from bench.gpu_memory import GIB, forget, limited_to, peak_gib
from bench.peers import (
    best_view_batch_size,
    load_plain,
    multidiffusion,
    request,
    run_diffusers,
    run_transcription,
)
from bench.sections import finish_kernels, machine, of, parser, publish, table
from panoweave.core.diffusion import checkpoints
from panoweave.core.diffusion.cuda_graphs import CudaGraphs
from panoweave.core.diffusion.deterministic import deterministic
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.warm_up import warm_up_request
from panoweave.core.embedded import WEIGHTS
from panoweave.core.machine import DEFAULT_WINDOW_BATCH
from panoweave.core.params import PanoramaParams, SyncParams

_WINDOW_BATCHES = (DEFAULT_WINDOW_BATCH, 11, 21)
_PEER_BATCHES = (4, 7, 8, 11, 21)


@dataclass(frozen=True)
class Pair:
    """Two measurements of one run, in the same unit, and what is to be said about them."""

    ours: float
    other: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    name: str
    goal: str
    measure: Callable[[], Pair]


@dataclass
class Bench:
    """The models, and what later rows take from earlier ones."""

    steps: int  # of the presets with 50
    pipeline: SyncDiffusionPipeline
    plain: SyncDiffusionPipeline
    found: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """The most telling first: a run may be cut off."""
        ideas, parts = gpu_ideas, gpu_parts
        tiny, full = "balanced / MultiDiffusion", "balanced, full decoder / MultiDiffusion"
        return [
            self.part("UNet forward, 21 windows: ours / diffusers'", "< 1", parts.unet_forward, 21),
            self.part(
                "UNet and gradient, 8 windows: ours / diffusers'", "< 1", parts.unet_and_gradient, 8
            ),
            self.part(
                "decoder and gradient, 7 windows: ours / diffusers'",
                "< 1",
                parts.decoder_and_gradient,
                7,
            ),
            Row("first panorama after the warm-up / the next", "<= 1.1", self.first_panorama),
            Row("MultiDiffusion / diffusers' panorama pipeline", "<= 0.7", self.multidiffusion),
            Row(tiny, "<= 0.8", partial(self.balanced, "tiny")),
            Row("fast / diffusers' panorama pipeline", "<= 0.4", self.fast),
            Row("same bits: with graphs / without", "", self.same_bits),
            self.idea("CUDA graphs / without", without=ideas.without_graphs),
            self.idea("our GroupNorm and GEGLU / torch's", without=ideas.without_kernels),
            self.idea("gradient of a Gaussian denoiser / of one half", gradient="conditional"),
            self.idea("perceptual network in bfloat16 / float32", ideas.half_perceptual),
            Row("paper / Algorithm 1, literally", "<= 0.15", self.paper),
            Row("embedded model: balanced / MultiDiffusion", "<= 0.8 s", self.embedded),
            Row("peak memory: balanced / MultiDiffusion", "<= 10 GiB", self.memory),
            Row(
                f"MultiDiffusion, {DEFAULT_WINDOW_BATCH} windows at once / the best",
                "",
                self.window_batch,
            ),
            self.idea("halves of the guidance share a front / not", without=ideas.whole_halves),
            self.idea("anchor in one batch with windows / alone", without=ideas.anchor_alone),
            self.idea("channels last / NCHW", without=ideas.nchw),
            self.idea("equal bits / fastest algorithms", without=ideas.any_bits),
            self.idea("cuDNN's attention / torch's choice", ideas.cudnn_attention),
            Row(full, "<= 0.8", partial(self.balanced, "full")),
            Row("balanced within 8 GiB / with all memory", "runs", self.small_card),
        ]

    def forget(self) -> None:
        if self.pipeline.graphs:
            self.pipeline.graphs.forget()
        forget()

    def took(self, params: PanoramaParams, window_batch: int = DEFAULT_WINDOW_BATCH) -> float:
        timings = self.pipeline(params, window_batch=window_batch).timings_s
        return timings["denoise"] + timings["decode"]

    def preset(self, preset: str, **sync: Any) -> PanoramaParams:
        steps = self.steps if preset == "balanced" else round(0.6 * self.steps)
        return request(preset=preset, steps=steps, sync=SyncParams(**sync))

    def best_diffusers(self) -> tuple[int, float]:
        """The best `view_batch_size`, and seconds of all steps with it."""
        if "diffusers" not in self.found:
            size = best_view_batch_size(self.plain, _PEER_BATCHES, steps=3)
            runs = [run_diffusers(self.plain, size, self.steps).took_s for _ in range(2)]
            self.found["diffusers"] = size, min(runs)
        found: tuple[int, float] = self.found["diffusers"]
        return found

    def best_multidiffusion(self) -> tuple[int, float]:
        """Our best window batch, and seconds of all steps with it."""
        if "multidiffusion" not in self.found:
            short = multidiffusion(steps=3)
            took = {size: min(self.took(short, size) for _ in range(2)) for size in _WINDOW_BATCHES}
            self.found["window batches"] = took
            size = min(took, key=lambda size: took[size])
            runs = [self.took(multidiffusion(steps=self.steps), size) for _ in range(2)]
            self.found["multidiffusion"] = size, min(runs)
        found: tuple[int, float] = self.found["multidiffusion"]
        return found

    def part(
        self, name: str, goal: str, run: Callable[[SyncDiffusionPipeline, int], Any], windows: int
    ) -> Row:
        """Medians of interleaved calls, as a step makes them; diffusers' with channels last too."""

        def measure() -> Pair:
            took: dict[bool, list[float]] = {True: [], False: []}
            for call in range(8):
                for is_ours in (True, False):
                    with deterministic(self.pipeline.device):
                        finish_kernels()
                        begun = time.perf_counter()
                        run(self.pipeline if is_ours else self.plain, windows)
                        finish_kernels()
                    if call > 2:
                        took[is_ours].append(1e3 * (time.perf_counter() - begun))
            return Pair(statistics.median(took[True]), statistics.median(took[False]), "ms")

        return Row(f"part: {name}", goal, measure)

    def first_panorama(self) -> Pair:
        """Only parts have run in this process so far, and the worker's warm-up."""
        begun = time.perf_counter()
        OomRetry(self.pipeline, DEFAULT_WINDOW_BATCH).generate(warm_up_request(self.pipeline))
        warm_up_s = time.perf_counter() - begun
        first, *later = (self.took(self.preset("balanced")) for _ in range(3))
        self.found["balanced"] = min(later)
        return Pair(first, min(later), "s", f"warm-up {warm_up_s:.1f} s")

    def multidiffusion(self) -> Pair:
        (size, other), (batch, ours) = self.best_diffusers(), self.best_multidiffusion()
        return Pair(ours, other, "s", f"`view_batch_size={size}`; ours {batch} windows at once")

    def window_batch(self) -> Pair:
        """What a batch by free memory could gain (docs/decisions/0064): three steps each."""
        size, _ = self.best_multidiffusion()
        took = self.found["window batches"]
        each = ", ".join(f"{size}: {1e3 * seconds / 3:.0f} ms" for size, seconds in took.items())
        return Pair(took[DEFAULT_WINDOW_BATCH], took[size], "s", f"a step, {each}")

    def paper(self) -> Pair:
        steps = 2
        ours = [self.took(request(preset="paper", steps=steps)) for _ in range(2)]
        run_transcription(self.plain, 1)
        other = run_transcription(self.plain, steps).took_s
        return Pair(min(ours), other, "s", f"{steps} steps, both halves of the guidance at once")

    def balanced(self, decoder: str) -> Pair:
        batch, other = self.best_multidiffusion()
        if decoder == "tiny" and "balanced" in self.found:
            ours = self.found["balanced"]
        else:
            ours = self.took(self.preset("balanced", decoder=decoder))
        return Pair(ours, other, "s", f"MultiDiffusion with {batch} windows at once")

    def fast(self) -> Pair:
        size, other = self.best_diffusers()
        ours = min(self.took(self.preset("fast")) for _ in range(2))
        return Pair(ours, other, "s", f"`view_batch_size={size}`")

    def memory(self) -> Pair:
        """As in a worker: without the baseline's own copy of the weights."""
        self.plain.to("cpu")
        short = max(5, self.steps // 10)
        peaks: list[float] = []
        for params in (request(preset="balanced", steps=short), multidiffusion(steps=2)):
            self.forget()
            self.took(params)
            peaks.append(peak_gib())
        self.plain.to(self.pipeline.device)
        return Pair(
            peaks[0], peaks[1], "GiB", "" if torch.cuda.is_available() else "no GPU: 0 is no figure"
        )

    def embedded(self) -> Pair:
        small = load(WEIGHTS)
        took = []
        for params in (self.preset("balanced"), multidiffusion(steps=self.steps)):
            small(params.model_copy(update={"steps": 5}))
            timings = small(params).timings_s
            took.append(timings["denoise"] + timings["decode"])
        return Pair(took[0], took[1], "s")

    def same_bits(self) -> Pair:
        """Four panoramas of one request: with graphs, again, and without, twice."""
        params = self.preset("balanced", decoder="tiny").model_copy(update={"steps": 8})
        pictures = [self.pipeline(params).image.tobytes() for _ in range(2)]
        with gpu_ideas.without_graphs(self.pipeline):
            pictures += [self.pipeline(params).image.tobytes() for _ in range(2)]
        different = len(set(pictures))
        return Pair(different, 1, "pictures", "same bits" if different == 1 else "bits differ")

    def idea(
        self,
        name: str,
        change: gpu_ideas.Change = gpu_ideas.as_it_is,
        without: gpu_ideas.Change = gpu_ideas.as_it_is,
        **sync: Any,
    ) -> Row:
        """Medians of interleaved pairs, after a first: short panoramas of `balanced`.

        `sync`: what the other side has different.
        """

        def measure() -> Pair:
            steps = max(5, self.steps // 5)
            ours, other = (
                request(
                    preset="balanced", steps=steps, sync=SyncParams(tuned_steps=steps, **changes)
                )
                for changes in ({}, sync)
            )
            kept, took = self.pipeline.graphs, []
            # What was recorded with a change is not what is replayed without it.
            own = [CudaGraphs() if kept else None for _ in range(2)]
            try:
                for _ in range(3):
                    for params, graphs, within in (
                        (ours, own[0], change),
                        (other, own[1], without),
                    ):
                        self.pipeline.graphs = graphs
                        with within(self.pipeline):
                            timings = self.pipeline(params).timings_s
                        took.append(timings["denoise"] / steps * 1e3)
            finally:
                self.pipeline.graphs = kept
                del own
                forget()
            return Pair(statistics.median(took[2::2]), statistics.median(took[3::2]), "ms a step")

        return Row(f"idea: {name}", "< 1", measure)

    def small_card(self) -> Pair:
        """Last: it takes the memory of the others."""
        steps = max(5, self.steps // 5)
        params = request(preset="balanced", steps=steps, sync=SyncParams(tuned_steps=steps))
        other = self.took(params)
        self.plain.to("cpu")  # the limit is this process's
        self.forget()
        with limited_to(8 * GIB):
            retry = OomRetry(self.pipeline, DEFAULT_WINDOW_BATCH)
            retry.generate(params)  # finds what fits
            timings = retry.generate(params).timings_s
        use = retry.memory_use(params.resolve(self.pipeline.traits))
        kept = "checkpointing" if use.gradient_checkpointing else "kept activations"
        note = f"{use.window_batch} windows at once, {kept}, peak {peak_gib():.1f} GiB"
        return Pair(timings["denoise"] + timings["decode"], other, "s", note)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--budget", type=float, default=440, help="no row begins after this")
    options.add_argument("--tiny", action="store_true", help="rehearse on a CPU")
    asked = options.parse_args()
    if not torch.cuda.is_available() and not asked.tiny:
        raise SystemExit("it takes a GPU; rehearse it on a CPU with --tiny")
    if asked.report and asked.tiny:
        raise SystemExit("a rehearsal's figures mean nothing: leave --report out")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(Path(folder), asked.tiny)
        print(f"{time.perf_counter() - begun:5.0f} s: the models are loaded", flush=True)
        try:
            bench.pipeline(request(preset="balanced", steps=2))
        except RuntimeError:
            traceback.print_exc(limit=-6, file=sys.stdout)
            print("CUDA graphs fail: all that follows is without them", flush=True)
            bench.pipeline.graphs = None
        lines: list[list[str]] = []
        rows = bench.rows()
        for row in rows:
            late = time.perf_counter() - begun > asked.budget
            lines.append(line_of(row, late))
            print(f"{time.perf_counter() - begun:5.0f} s: {' | '.join(lines[-1])}", flush=True)
            if asked.report:  # a run that is cut off leaves what it has
                missing = [[row.name, "not measured", row.goal, "", "", ""] for row in rows]
                publish("peers", text_of(bench, lines + missing[len(lines) :]), asked.report)
        print(text_of(bench, [without_figures(line) for line in lines] if asked.tiny else lines))


def prepare(folder: Path, tiny_size: bool) -> Bench:
    if tiny_size:
        sd2_random.write_tiny(folder)
    else:
        sd2_random.write(folder)
    pipeline = load(folder)
    steps = 6 if tiny_size else 50
    return Bench(steps, pipeline, load_plain(str(folder), pipeline))


def load(folder: Path) -> SyncDiffusionPipeline:
    """Without what measures finished panoramas, whose weights need not be there."""
    with patch.object(checkpoints, "load_meter", lambda: None):
        return checkpoints.load_pipeline(str(folder), perceptual="stlpips-alex")


def line_of(row: Row, late: bool) -> list[str]:
    if late:
        return [row.name, "not measured: out of time", row.goal, "", "", ""]
    try:
        pair = row.measure()
    except Exception as error:  # the other rows are still worth having
        traceback.print_exc(limit=-6, file=sys.stdout)
        forget()
        return [row.name, f"failed: {type(error).__name__}", row.goal, "", "", str(error)[:120]]
    ratio = f"{pair.ours / pair.other:.2f}" if pair.other else "-"
    sides = [f"{value:.2f} {pair.unit}" for value in (pair.ours, pair.other)]
    return [row.name, ratio, row.goal, *sides, pair.note]


def without_figures(line: list[str]) -> list[str]:
    """A row of a rehearsal, if it did not fail."""
    name, ratio, goal, *_ = line
    if ratio.startswith("failed"):
        return line
    return [name, "not measured: no card was at hand", goal, "", "", ""]


def text_of(bench: Bench, lines: list[list[str]]) -> str:
    head = ["ours / other", "ratio", "goal", "ours", "other", "settings"]
    return (
        f"`python -m bench.gpu` on {machine()}, {of(bench.pipeline)}, random weights, "
        f"{bench.steps} steps where the preset has 50.\n\n{table(head, lines)}"
    )


if __name__ == "__main__":
    main()
