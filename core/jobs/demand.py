"""How much work there is for a model, for whatever adds and removes workers."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors

# Longer than a machine takes to start and load a model. A client that is refused tries again, and
# so extends it.
_WANTED_TTL_S: Final = 900


class Demand(NamedTuple):
    queued: int
    running: int
    gpu_s: float  # what the queued jobs, and the rest of the running ones, take of one worker
    unestimated: int  # jobs that gpu_s leaves out, because nobody knows how long they take
    workers: int  # that live, and hold the model or are loading it
    is_wanted: bool  # a request came before any worker had loaded the model, and was refused

    def workers_wanted(self, seconds_per_worker: float) -> int:
        """One for each so many seconds of work, but no more than there are jobs, and no fewer than
        are at work."""
        jobs = self.queued + self.running
        by_time = self.unestimated + -(-self.gpu_s // seconds_per_worker)
        least = 1 if jobs or self.is_wanted else 0
        return max(least, self.running, min(jobs, int(by_time)))


def note_wanted(redis: Redis, model: str) -> None:
    """A request was refused because no worker has loaded its model yet."""
    with translate_redis_errors():
        redis.set(redis_keys.wanted(model), b"", ex=_WANTED_TTL_S)


def from_answer(answer: Any) -> Demand:
    """From the answer of model_demand.lua."""
    queued, running, ms, unestimated, workers, is_wanted = answer
    return Demand(queued, running, ms / 1_000, unestimated, workers, bool(is_wanted))
