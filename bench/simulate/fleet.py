"""One model's workers on Kubernetes: KEDA, the HPA, machines, and the queue, in simpy's time.

How many workers are wanted is computed by the service's own code. KEDA and the HPA follow their
documentation: KEDA takes the fleet from 0 to 1 and to 0, the HPA does the rest.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import simpy

from bench.simulate.arrivals import DAY_S, Request
from bench.simulate.costs import Costs
from panoweave.core.jobs.demand import Demand
from panoweave.worker.attempt import DRAIN_S

_TOLERANCE: Final = 0.1  # the HPA leaves a fleet alone that is nearly right
_UP_AT_LEAST: Final = 4  # pods that the HPA may add at once, or as many as there are

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Knobs:
    """The chart's values, under the same names."""

    seconds_per_worker: float = 120
    cooldown_s: float = 300
    scale_down_s: float = 300
    polling_s: float = 15
    least: int = 0
    most: int = 40
    reclaim_every_s: float = math.inf  # how long a spot machine lives on average


@dataclass
class Job:
    came_at: float
    work_s: float  # that is left
    estimate_s: float
    started_at: float | None = None

    def __lt__(self, other: Job) -> bool:
        return self.came_at < other.came_at


@dataclass(eq=False)
class Pod:
    began_at: float
    ready_at: float | None = None
    job: Job | None = None
    job_began_at: float = 0.0
    process: simpy.Process | None = None
    is_leaving: bool = False


@dataclass(frozen=True)
class Outcome:
    waits_s: Sequence[float]  # until a job first started
    machine_s: float
    busy_s: float
    cold_starts: int  # pods that needed a new machine
    handed_back: int  # jobs that changed their worker
    workers: Sequence[tuple[float, int, int]]  # at a time: pods, jobs that wait


class Fleet:
    def __init__(self, costs: Costs, knobs: Knobs, seed: int) -> None:
        self.env = simpy.Environment()
        self._costs, self._knobs = costs, knobs
        self._rng = random.Random(seed)
        self._queue = simpy.PriorityStore(self.env)
        self._pods: list[Pod] = []
        self._empty_since: list[float] = []  # machines without a pod
        self._wanted = 0  # replicas of the Deployment
        self._active_at = -math.inf
        self._recent: deque[tuple[float, int]] = deque()
        self._waits: list[float] = []
        self._machine_s = self._busy_s = 0.0
        self._cold_starts = self._handed_back = 0
        self._seen: list[tuple[float, int, int]] = []

    def run(self, requests: Sequence[Request]) -> Outcome:
        self.env.process(self._arrive(requests))
        self.env.process(self._scale())
        self.env.run(until=DAY_S)
        now = self.env.now
        self._machine_s += sum(now - pod.began_at for pod in self._pods)
        # Whoever still waits has waited at least so long.
        waiting = [job for job in self._queue.items if job.started_at is None]
        waits = [*self._waits, *(now - job.came_at for job in waiting)]
        return Outcome(
            waits, self._machine_s, self._busy_s, self._cold_starts, self._handed_back, self._seen
        )

    def _arrive(self, requests: Sequence[Request]) -> Process:
        for request in requests:
            yield self.env.timeout(request.at_s - self.env.now)
            self._queue.put(Job(self.env.now, request.work_s, request.estimate_s))

    def _scale(self) -> Process:
        while True:
            waiting = list(self._queue.items)
            running = [self._left_s(pod, pod.job) for pod in self._pods if pod.job]
            demand = Demand(
                queued=len(waiting),
                running=len(running),
                gpu_s=sum(job.estimate_s for job in waiting) + sum(running),
                unestimated=0,
                workers=len(self._pods),
                is_wanted=False,
            )
            wanted = demand.workers_wanted(self._knobs.seconds_per_worker)
            self._wanted = self._next_replicas(wanted)
            self._adjust()
            self._seen.append((self.env.now, len(self._pods), len(waiting)))
            yield self.env.timeout(self._knobs.polling_s)

    def _left_s(self, pod: Pod, job: Job) -> float:
        """What a running job is estimated to take from now on."""
        done = (self.env.now - pod.job_began_at) / job.work_s
        return job.estimate_s * max(0.0, 1 - done)

    def _next_replicas(self, wanted: int) -> int:
        now, knobs = self.env.now, self._knobs
        if wanted:
            self._active_at = now
        if self._wanted == 0:
            return max(1, knobs.least) if wanted or knobs.least else 0
        if not wanted and not knobs.least and now - self._active_at > knobs.cooldown_s:
            self._recent.clear()
            return 0
        desired = min(max(wanted, knobs.least, 1), knobs.most)
        if abs(wanted / self._wanted - 1) <= _TOLERANCE:
            desired = self._wanted
        self._recent.append((now, desired))
        while now - self._recent[0][0] > knobs.scale_down_s:
            self._recent.popleft()
        highest = max(each for _, each in self._recent)
        if highest < self._wanted:
            return highest
        up = self._wanted + max(_UP_AT_LEAST, self._wanted)
        return min(max(desired, self._wanted), up)

    def _adjust(self) -> None:
        staying = [pod for pod in self._pods if not pod.is_leaving]
        for _ in range(self._wanted - len(staying)):
            pod = Pod(self.env.now)
            self._pods.append(pod)
            pod.process = self.env.process(self._live(pod))
        # As a ReplicaSet chooses: those that are not ready, then the youngest.
        order = sorted(staying, key=lambda pod: (pod.ready_at is not None, -pod.began_at))
        for pod in order[: max(0, len(staying) - self._wanted)]:
            self._end(pod)

    def _end(self, pod: Pod) -> None:
        pod.is_leaving = True
        if pod.process is not None and pod.process.is_alive:
            pod.process.interrupt()

    def _live(self, pod: Pod) -> Process:
        costs = self._costs
        if self._knobs.reclaim_every_s < math.inf:
            self.env.process(self._reclaim(pod))
        try:
            if self._take_machine():
                yield self.env.timeout(costs.load_s)
            else:
                self._cold_starts += 1
                yield self.env.timeout(costs.cold_start_s)
            pod.ready_at = self.env.now
            while True:
                yield from self._work(pod)
        except simpy.Interrupt:
            pass
        self._pods.remove(pod)
        self._empty_since.append(self.env.now)
        self._machine_s += self.env.now - pod.began_at

    def _work(self, pod: Pod) -> Process:
        ticket = self._queue.get()
        try:
            job: Job = yield ticket
        except simpy.Interrupt:
            if ticket.triggered:  # it got a job in the same moment
                self._queue.put(ticket.value)
            else:
                ticket.cancel()
            raise
        if job.started_at is None:
            job.started_at = self.env.now
            self._waits.append(self.env.now - job.came_at)
        pod.job = job
        pod.job_began_at = began_at = self.env.now
        try:
            yield self.env.timeout(job.work_s)
        except simpy.Interrupt:
            done_s = self.env.now - began_at
            left_s = job.work_s - done_s
            if left_s <= DRAIN_S:
                yield self.env.timeout(left_s)
            else:
                job.estimate_s *= left_s / job.work_s
                job.work_s = left_s
                self._handed_back += 1
                self._queue.put(job)
            raise
        finally:
            self._busy_s += self.env.now - began_at
            pod.job = None

    def _take_machine(self) -> bool:
        """Whether there was one without a pod, which has the image."""
        now, idle_s = self.env.now, self._costs.machine_idle_s
        kept = [since for since in self._empty_since if now - since < idle_s]
        self._machine_s += idle_s * (len(self._empty_since) - len(kept))
        self._empty_since = kept
        if not kept:
            return False
        self._machine_s += now - self._empty_since.pop()
        return True

    def _reclaim(self, pod: Pod) -> Process:
        """The cloud takes the machine back; the Deployment starts another pod."""
        yield self.env.timeout(self._rng.expovariate(1 / self._knobs.reclaim_every_s))
        if not pod.is_leaving:
            self._end(pod)
