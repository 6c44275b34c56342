"""Panoramas in less memory than they would like."""

from __future__ import annotations

import dataclasses

import torch

from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.ranks import ONE_RANK
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.params import PanoramaParams
from panoweave.worker.job import WorkerContext
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

        def enable_gradient_checkpointing(self) -> None:
            self.gradient_checkpointing = True

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
