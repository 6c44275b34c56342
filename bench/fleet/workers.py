"""Workers that make panoramas in no time: RQ's loop, the claim, a report, the success."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import NamedTuple

from rq.serializers import JSONSerializer

from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.worker.rq_worker import PanoramaWorker
from tests.jobs.samples import TRAITS, progress, result_of


class Claim(NamedTuple):
    at: float  # when it was answered
    took_s: float
    tenant: str


Results = SimpleQueue[list[Claim]]


def work(settings: Settings, results: Results) -> None:
    """In a process of its own, until SIGTERM."""
    logging.disable(logging.CRITICAL)
    name = f"no-time-{os.getpid()}"
    claims: list[Claim] = []
    with connect(settings) as redis:
        store, queue = JobStore(redis, settings), Queue(redis)

        def run_ticket() -> None:
            began = time.monotonic()
            record = store.claim(name, settings.model)
            now = time.monotonic()
            if record and record.token:
                claims.append(Claim(now, now - began, record.tenant))
                store.report(record.id, record.token, progress(1))
                store.succeed(record.id, record.token, result_of(record))
            queue.top_up()

        state = ModelState(
            model=settings.model,
            state="ready",
            traits=TRAITS,
            perceptual=settings.perceptual,
            worker=name,
        )
        models.publish(redis, state)
        PanoramaWorker(
            queue.tickets(settings.model),
            name,
            threading.Event(),
            run_ticket,
            connection=redis,
            serializer=JSONSerializer,
        ).work(logging_level="CRITICAL")
    results.put(claims)


@contextmanager
def working(settings: Settings, workers: int) -> Iterator[list[Claim]]:
    """So many workers work inside of the block. What they claimed is in the list after it."""
    claims: list[Claim] = []
    forking = multiprocessing.get_context("fork")
    results: Results = forking.SimpleQueue()
    processes: list[BaseProcess] = [
        forking.Process(target=work, args=(settings, results)) for _ in range(workers)
    ]
    for each in processes:
        each.start()
    try:
        yield claims
    finally:
        for each in processes:
            each.terminate()
        for _ in processes:
            claims += results.get()
        for each in processes:
            each.join()
