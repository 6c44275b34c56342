"""Random sequences of moves, by workers that may be out of date, against a few lines of Python
that say what should happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.errors import IllegalMove, StaleAttempt
from panoweave.core.jobs.record import TERMINAL, JobRecord, Status
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, new_record, progress, result_of, start_job

MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, *TERMINAL}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),  # a retry
    Status.CANCELLED: frozenset(),
}


@dataclass
class Expected:
    status: Status = Status.QUEUED
    tokens: list[str] = field(default_factory=list)
    cancel_requested: bool = False
    endings: int = 0  # before a retry

    def move(self, to: Status) -> None:
        assert to in MOVES[self.status]
        self.status = to


def machine(redis: Redis, job_settings: Settings) -> type[RuleBasedStateMachine]:
    store = JobStore(redis, job_settings)

    class Jobs(RuleBasedStateMachine):
        tokens = Bundle("tokens")

        def __init__(self) -> None:
            super().__init__()
            redis.flushall()
            self.id = store.create(new_record()).id
            self.job = Expected()

        @rule(target=tokens)
        def start(self) -> Any:
            if self.job.status is not Status.QUEUED:
                assert store.claim("worker", "embedded") is None
                return multiple()
            token = start_job(store, self.id).token
            assert token is not None
            self.job.move(Status.RUNNING)
            self.job.tokens.append(token)
            return token

        @rule()
        def request_cancel(self) -> None:
            record = store.request_cancel(self.id)
            if self.job.status is Status.QUEUED:
                self.job.move(Status.CANCELLED)
            elif self.job.status is Status.RUNNING:
                self.job.cancel_requested = True
                assert record.cancel_requested

        @rule()
        def retry(self) -> None:
            record = store.get(self.id)
            if self.job.status in (Status.SUCCEEDED, Status.CANCELLED):
                with pytest.raises(IllegalMove):
                    store.retry(record)
                return
            store.retry(record)
            if self.job.status is Status.FAILED:
                self.job.move(Status.QUEUED)
                self.job.endings += 1

        @rule(token=tokens, step=st.integers(0, 50))
        def report(self, token: str, step: int) -> None:
            if not self.holds(token):
                with pytest.raises(StaleAttempt):
                    store.report(self.id, token, progress(step))
                return
            signal = store.report(self.id, token, progress(step))
            assert signal.cancel_requested is self.job.cancel_requested

        @rule(token=tokens)
        def succeed(self, token: str) -> None:
            to = Status.CANCELLED if self.job.cancel_requested else Status.SUCCEEDED
            self.end(token, to, lambda: store.succeed(self.id, token, result_of(new_record())))

        @rule(token=tokens)
        def fail(self, token: str) -> None:
            self.end(token, Status.FAILED, lambda: store.fail(self.id, token, FAILURE))

        @rule(token=tokens)
        def cancelled(self, token: str) -> None:
            self.end(token, Status.CANCELLED, lambda: store.cancelled(self.id, token))

        @rule(token=tokens)
        def requeue(self, token: str) -> None:
            to = Status.CANCELLED if self.job.cancel_requested else Status.QUEUED
            self.end(token, to, lambda: store.requeue(self.id, token, "preempted"))

        def holds(self, token: str) -> bool:
            return self.job.status is Status.RUNNING and token == self.job.tokens[-1]

        def end(self, token: str, to: Status, move: Callable[[], JobRecord]) -> None:
            if self.holds(token):
                assert move().status is to
                self.job.move(to)
                return
            try:
                record = move()
            except (StaleAttempt, IllegalMove):
                return
            # Not refused: then it repeats what this very attempt has already done.
            assert token == self.job.tokens[-1]
            assert record.status is self.job.status
            assert record.status is not Status.RUNNING

        @invariant()
        def record_agrees(self) -> None:
            record = store.get(self.id)
            assert record.status is self.job.status
            assert record.attempts == len(self.job.tokens)
            assert record.cancel_requested is self.job.cancel_requested
            assert (record.finished_at is not None) is (record.status in TERMINAL)

        @invariant()
        def everything_beside_the_record_agrees(self) -> None:
            status = self.job.status
            seen = events.read(redis, self.id, limit=1_000)
            assert [event.status for event in seen][-1] is status
            pipeline = redis.pipeline(transaction=False)
            for key in (redis_keys.OUTBOX, redis_keys.LEASES, redis_keys.QUEUED):
                pipeline.zcard(key)
            pipeline.zcard(redis_keys.WAITING_TENANTS)
            pipeline.ttl(redis_keys.job(self.id))
            for each in Status:
                pipeline.zcard(redis_keys.index("default", each))
            outbox, leases, queued, waiting_tenants, ttl_s, *indexed = pipeline.execute()
            assert outbox == self.job.endings + (status in TERMINAL)
            assert leases == (status is Status.RUNNING)
            assert queued == waiting_tenants == (status is Status.QUEUED)
            assert (ttl_s > 0) is (status in TERMINAL)
            assert indexed == [each is status for each in Status]

    return Jobs


def test_any_sequence_of_moves(redis: Redis, settings: Settings) -> None:
    run_state_machine_as_test(machine(redis, settings), settings=_bounded)


_bounded = bounds(
    max_examples=40,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)
