"""Metrics about all jobs, read from Redis at each scrape.

Every API process shows the same numbers, however many there are. Metrics about the requests of
one process are in panoweave.service.http.access_log.
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

# These start at 0: Prometheus's `rate` does not see a counter that appears with the value 1.
_ENDINGS: Final = (
    Ending(Status.SUCCEEDED, ""),
    Ending(Status.CANCELLED, ""),
    Ending(Status.EXPIRED, ""),
    *(Ending(Status.FAILED, code) for code in FailureCode),
)
_REQUEUE_REASONS: Final = ("preempted", "step_timeout", "worker_lost")


@contextmanager
def job_metrics_registered(registry: CollectorRegistry, context: Context) -> Iterator[None]:
    collector = JobsCollector(context)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


class JobsCollector(Collector):
    """While Redis is away, `panoweave_redis_up` is 0 and the other metrics are left out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterable[Metric]:
        try:
            metrics = self._job_metrics()
            is_up = 1
        except StoreUnavailable:
            metrics, is_up = [], 0
        yield GaugeMetricFamily("panoweave_redis_up", "Whether Redis answers.", value=is_up)
        yield from metrics

    def _job_metrics(self) -> list[Metric]:
        counts = self._context.store.counts()
        waiting = self._context.queue.waiting()
        totals = stats.read(self._context.redis)
        live = Counter(state.state for state in models.live_workers(self._context.redis))
        workers = GaugeMetricFamily("panoweave_workers", "Live workers.", labels=["state"])
        for state in {*get_args(WorkerState), *live}:
            workers.add_metric([state], live[state])
        ended = CounterMetricFamily(
            "panoweave_jobs_ended", "Panoramas that ended.", labels=["status", "code"]
        )
        for ending, count in {**dict.fromkeys(_ENDINGS, 0), **totals.ended}.items():
            ended.add_metric(ending, count)
        requeued = CounterMetricFamily(
            "panoweave_attempts_requeued",
            "Attempts that ended with the panorama back in the queue.",
            labels=["reason"],
        )
        for reason, count in {**dict.fromkeys(_REQUEUE_REASONS, 0), **totals.requeued}.items():
            requeued.add_metric([reason], count)
        return [
            GaugeMetricFamily("panoweave_jobs_queued", "Panoramas that wait.", counts.queued),
            GaugeMetricFamily(
                "panoweave_jobs_unserved",
                "Panoramas that wait for a model that no live worker holds.",
                sum(each.queued for each in waiting if not each.workers),
            ),
            GaugeMetricFamily("panoweave_jobs_running", "Panoramas being made.", counts.running),
            GaugeMetricFamily(
                "panoweave_queue_oldest_seconds",
                "How long the panorama that waits longest has waited.",
                totals.oldest_queued_s,
            ),
            workers,
            ended,
            requeued,
        ]
