"""What can be seen of a panorama while it is made."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
import torch
from PIL import Image

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.s3_client import Waits
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.worker.attempt import Attempt
from panoweave.worker.job import WorkerContext, run_attempt
from panoweave.worker.preview import Previews
from tests.jobs.samples import start_job
from tests.processes import wait_until

Post = Callable[..., JobRecord]


def test_it_is_seen_while_it_is_made_and_gone_afterwards(
    context: WorkerContext, post: Post, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panoweave.worker.preview.EVERY_S", 0)
    seen: list[Image.Image] = []
    announced: list[bool] = []
    on_step = Attempt.on_step

    def look(self: Attempt, report: StepReport) -> None:
        key = self.record.keys.foreseen
        wait_until(lambda: objects.exists(key), 30)
        seen.append(Image.open(io.BytesIO(objects.get(key))))
        announced.append(self.has_preview)
        on_step(self, report)

    monkeypatch.setattr(Attempt, "on_step", look)
    record = start_job(context.store, post().id, "worker-1")
    ended = run_attempt(context, record)
    assert ended is not None
    assert ended.status is Status.SUCCEEDED
    assert len(seen) == 5
    assert announced[-1]  # and a client knows that it may ask for it
    assert {(image.format, round(image.width / image.height)) for image in seen} == {("JPEG", 2)}
    assert not objects.exists(record.keys.foreseen)


def test_a_store_that_hangs_slows_no_step(
    settings: Settings,
    post: Post,
    pipeline: SyncDiffusionPipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has not answered when all is done."""
    monkeypatch.setattr("panoweave.worker.preview.EVERY_S", 0)
    monkeypatch.setattr("panoweave.worker.preview.CLOSE_WAIT_S", 0.1)
    latents, storing = torch.randn(1, 4, 8, 16), set()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hanging = settings.model_copy(update={"s3_endpoint": endpoint})
        with closing(ObjectStore(hanging, Waits(connect_s=120, read_s=120, tries=1))) as store:
            with closing(Previews(store, post(), pipeline, lambda: None)) as previews:
                for step in range(1, 6):
                    state = SamplerState(step, latents, {}, torch.get_rng_state())
                    previews.show(StepReport(state, 5, latents))
                    storing.add(previews._storing)
            assert len(storing) == 1
            assert previews._storing is not None
            assert previews._storing.is_alive()
    previews._storing.join()  # the connection is closed
