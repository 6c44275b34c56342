"""What the API shows of the jobs: read from Redis at each scrape.

So it is right however many API processes there are, and each of them shows the same. What a
process knows of its own requests is in panoweave.service.http.access_log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs import models, stats
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.models import WorkerState
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.stats import Ending
from panoweave.service.dependencies import Context

# Shown from 0 on: no rate sees a rise from nothing to 1.
_ENDINGS: Final = (
    Ending(Status.SUCCEEDED, ""),
    Ending(Status.CANCELLED, ""),
    *(Ending(Status.FAILED, code) for code in FailureCode),
)
_REASONS: Final = ("preempted", "step_timeout", "worker_lost")


@contextmanager
def jobs_shown(registry: CollectorRegistry, context: Context) -> Iterator[None]:
    collector = JobsCollector(context)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


class JobsCollector(Collector):
    """All of it, or, while Redis is away, only that it is."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterable[Metric]:
        try:
            shown = self._jobs()
            is_up = 1
        except StoreUnavailable:
            shown, is_up = [], 0
        yield GaugeMetricFamily("panoweave_redis_up", "Whether Redis answers.", value=is_up)
        yield from shown

    def _jobs(self) -> list[Metric]:
        counts = self._context.store.counts()
        tally = stats.read(self._context.redis)
        live = Counter(state.state for state in models.live_workers(self._context.redis))
        workers = GaugeMetricFamily("panoweave_workers", "Workers that live.", labels=["state"])
        for state in get_args(WorkerState):
            workers.add_metric([state], live[state])
        ended = CounterMetricFamily(
            "panoweave_jobs_ended", "Panoramas that ended.", labels=["status", "code"]
        )
        for ending, times in {**dict.fromkeys(_ENDINGS, 0), **tally.ended}.items():
            ended.add_metric(ending, times)
        requeued = CounterMetricFamily(
            "panoweave_attempts_requeued",
            "Attempts that ended with the panorama back in the queue.",
            labels=["reason"],
        )
        for reason, times in {**dict.fromkeys(_REASONS, 0), **tally.requeued}.items():
            requeued.add_metric([reason], times)
        return [
            GaugeMetricFamily("panoweave_jobs_queued", "Panoramas that wait.", counts.queued),
            GaugeMetricFamily("panoweave_jobs_running", "Panoramas in the making.", counts.running),
            GaugeMetricFamily(
                "panoweave_queue_oldest_seconds",
                "How long the panorama that waits longest has waited.",
                tally.oldest_queued_s,
            ),
            workers,
            ended,
            requeued,
        ]
