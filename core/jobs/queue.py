"""The queues of tickets, one for each model, carried by RQ. A ticket lets one worker run one job.

A ticket names no job. `JobStore.claim` chooses the job when the ticket is used, and serves tenants
in turn, however many jobs each has queued. So a ticket too many does no harm, and any ticket
replaces one that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import rq
from redis import Redis
from redis.commands.core import Script
from rq.serializers import JSONSerializer

from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs import demand
from panoweave.core.jobs.demand import Demand
from panoweave.core.jobs.record import JobRecord

# Workers of earlier versions take tickets from here, whatever their model is.
OLD_QUEUE: Final = "panoweave"
# The function that tickets name. Workers do not look at it; those of version 0.1.0 import it, and
# so still take the tickets of a newer API while a cluster is upgraded.
TICKET: Final = "worker.tasks.take_turn"

_NO_TIMEOUT = -1  # the worker's own watchdog ends a hung step
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 3_600


class QueueEstimate(NamedTuple):
    """When queued jobs may start and end."""

    places: Mapping[str, int]  # how many jobs start before each; only of queued jobs
    etas_s: Mapping[str, float]  # until each has ended; only of queued jobs, where it is known


class WaitingModel(NamedTuple):
    """A model that jobs wait for."""

    model: str
    queued: int
    workers: int  # that live, and hold the model or are loading it


class Queue:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

        def script(*names: str) -> Script:
            shared = ("model_queue.lua", "queue_repair.lua")
            return register_script(redis, __package__, *shared, *names)

        self._estimate = script("queue_state.lua", "queue_estimate.lua")
        self._demand = script("queue_state.lua", "model_demand.lua")
        self._waiting = script("waiting_models.lua")
        self._compare = script("compare_queues.lua")

    def tickets(self, model: str) -> rq.Queue:
        """A worker listens to this one alone: only then does RQ move tickets safely (BLMOVE)."""
        return self._rq(f"{OLD_QUEUE}:{model}")

    def add_ticket(self, model: str) -> None:
        """Add one ticket, needed or not. `top_up` adds as many as are needed."""
        with translate_redis_errors():
            _add_ticket(self.tickets(model))

    def compare(self) -> None:
        """Compare the queues by model, job by job, with that of all jobs, which processes of
        earlier versions write too. Redis answers others between the parts."""
        with translate_redis_errors():
            place: Any = b""
            while place is not None:
                place = self._compare(args=[place])

    def waiting(self) -> Sequence[WaitingModel]:
        """The models that jobs wait for."""
        with translate_redis_errors():
            answer: Any = self._waiting()
        found = [WaitingModel(model.decode(), queued, workers) for model, queued, workers in answer]
        return sorted(found)

    def demand(self, model: str) -> Demand:
        """Also of a model that no worker has ever held."""
        with translate_redis_errors():
            return demand.from_answer(self._demand(args=[model]))

    def top_up(self) -> None:
        """Add tickets until no worker idles while jobs wait for its model."""
        waiting = self.waiting()
        with translate_redis_errors():
            # One for each worker, not for each job: tenants at their limit of running jobs would
            # use up the others' tickets.
            for model, queued, workers in waiting:
                _top_up(self.tickets(model), min(queued, max(workers, 1)))
            if waiting:
                old_workers: Any = self._redis.scard(f"rq:workers:{OLD_QUEUE}")
                _top_up(self._rq(OLD_QUEUE), min(sum(each.queued for each in waiting), old_workers))

    def estimate(self, records: Sequence[JobRecord]) -> QueueEstimate:
        """An estimate from the current queue: a tenant that comes later may be served before
        another's second job."""
        asked = [text for each in records for text in (each.tenant, each.id, each.model)]
        with translate_redis_errors():
            answer: Any = self._estimate(args=asked)
        places, etas_s = {}, {}
        for record, place, wait_ms, run_ms in zip(records, *answer, strict=True):
            if place >= 0:
                places[record.id] = place
            if wait_ms >= 0 and run_ms >= 0:
                etas_s[record.id] = (wait_ms + run_ms) / 1_000
        return QueueEstimate(places, etas_s)

    def _rq(self, name: str) -> rq.Queue:
        return rq.Queue(name, connection=self._redis, serializer=JSONSerializer)


def _top_up(queue: rq.Queue, needed: int) -> None:
    for _ in range(needed - (queue.count if needed else 0)):
        _add_ticket(queue)


def _add_ticket(queue: rq.Queue) -> None:
    queue.enqueue_call(
        TICKET,
        description="a ticket",
        timeout=_NO_TIMEOUT,
        result_ttl=_RESULT_TTL_S,
        failure_ttl=_FAILURE_TTL_S,
    )
