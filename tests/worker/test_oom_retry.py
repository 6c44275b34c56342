"""Panoramas in less memory than they would like."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.rank_work import FirstRank, RankRequest
from panoweave.core.diffusion.ranks import ONE_RANK, Ranks
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.params import PanoramaParams
from panoweave.worker.job import WorkerContext
from tests.core import tiny
from tests.worker.attempts import Post, run


def test_where_memory_runs_out_less_is_used_for_the_same_picture(
    context: WorkerContext, post: Post
) -> None:
    """Fewer windows at once; then nothing kept for the gradient; then the job fails."""
    tried: list[tuple[int, bool]] = []
    pipeline = context.generator.pipeline

    @dataclasses.dataclass
    class Cramped:
        room: int
        traits = pipeline.traits
        gradient_checkpointing = False
        ranks = ONE_RANK
        graphs = None
        loras = None
        preview = pipeline.preview  # a busy machine's steps are long enough for one

        def set_gradient_checkpointing(self, enabled: bool) -> None:
            self.gradient_checkpointing = enabled

        def __call__(self, params: PanoramaParams, *, window_batch: int, **rest: object) -> object:
            tried.append((window_batch, self.gradient_checkpointing))
            if window_batch * (1 if self.gradient_checkpointing else 2) > self.room:
                raise torch.OutOfMemoryError
            return pipeline(params, window_batch=window_batch, **rest)  # type: ignore[arg-type]

    def ended(room: int) -> JobRecord:
        tried.clear()
        generator = OomRetry(Cramped(room), 8)  # type: ignore[arg-type]
        cramped = dataclasses.replace(context, generator=generator)
        record = run(cramped, post())
        assert record is not None
        return record

    assert ended(4).status is Status.SUCCEEDED
    assert tried == [(8, False), (4, False), (2, False)]
    assert ended(1).status is Status.SUCCEEDED
    assert tried == [(8, False), (4, False), (2, False), (1, False), (1, True)]
    failed = ended(0)
    assert failed.error is not None
    assert failed.error.code is FailureCode.OUT_OF_MEMORY
    assert tried[-1] == (1, True)

    frugal = OomRetry(Cramped(4), 8)  # type: ignore[arg-type]
    tried.clear()
    for _ in range(2):
        frugal.generate(post().params)
    assert tried == [(8, False), (4, False), (2, False), (2, False)]  # what was enough is kept


class Card:
    """A pipeline on a card where a panorama of `paper` has less room than others."""

    traits = CheckpointTraits(window_px=64, px_per_latent=8)
    ranks = ONE_RANK
    gradient_checkpointing = False

    def __init__(self) -> None:
        self.graphs: Any = None
        self.tried: list[tuple[str, int, bool]] = []

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        self.gradient_checkpointing = enabled

    def __call__(self, params: PanoramaParams, *, window_batch: int, **_: object) -> None:
        self.tried.append((params.preset, window_batch, self.gradient_checkpointing))
        room = 0 if params.preset == "paper" else 2
        recorded = self.graphs is not None and self.graphs.hold_memory
        if recorded or (window_batch > room and not self.gradient_checkpointing):
            raise torch.OutOfMemoryError


def test_a_request_gets_the_same_batches_whatever_was_made_before() -> None:
    """Else its bits would depend on what others asked for."""
    balanced, paper = (PanoramaParams(prompt="x", preset=p) for p in ("balanced", "paper"))
    card = Card()
    generator = OomRetry(card, 4)  # type: ignore[arg-type]
    for params in (paper, balanced, paper, balanced):
        generator.generate(params)
    assert card.tried == [
        *[("paper", size, False) for size in (4, 2, 1)],
        ("paper", 1, True),
        *[("balanced", size, False) for size in (4, 2)],
        ("paper", 1, True),
        ("balanced", 2, False),
    ]


def test_recordings_of_others_are_given_up_before_the_batch() -> None:
    class Recordings:
        hold_memory = True

        def forget(self) -> None:
            self.hold_memory = False

    card = Card()
    card.graphs = Recordings()
    generator = OomRetry(card, 2)  # type: ignore[arg-type]
    params = PanoramaParams(prompt="x", preset="balanced")
    generator.generate(params)
    assert card.tried == [("balanced", 2, False)] * 2
    assert generator.memory_use(params.resolve(card.traits)).window_batch == 2


# Two windows in each step: all at once before memory runs out and after.
SEEDLESS = PanoramaParams.model_validate(
    {"prompt": "a lake", "preset": "paper", "width": 80, "steps": 4, "sync": {"weight": 0}}
)


def test_a_drawn_seed_stays_when_memory_runs_out(tmp_path: Path) -> None:
    """The panorama goes on with the noise that it began with, and reports that seed."""
    pipeline, left = tiny.pipeline(tmp_path), [1]

    def run_out_once(report: StepReport) -> None:
        if report.step == 2 and left:
            left.pop()
            raise torch.OutOfMemoryError

    made = OomRetry(pipeline, 8).generate(SEEDLESS, on_step=run_out_once)
    assert not left
    again = pipeline(SEEDLESS.model_copy(update={"seed": made.seed}))
    assert again.image.tobytes() == made.image.tobytes()


def test_ranks_begin_with_one_seed(tmp_path: Path) -> None:
    sent: list[RankRequest] = []

    class Group(Ranks):
        def broadcast(self, value: RankRequest) -> None:
            sent.append(value)

    first = FirstRank(tiny.pipeline(tmp_path), 8, Group())  # type: ignore[arg-type]
    made = first.generate(SEEDLESS)
    assert [request.params.seed for request in sent] == [made.seed]
