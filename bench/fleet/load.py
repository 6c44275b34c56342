"""What is measured: POSTs, claims, fairness, the janitor, Redis."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Final

import httpx
from httpx import codes

from bench.fleet.service import Fleet
from bench.fleet.workers import Claim
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.worker.janitor import sweep

# The header took too long, the first request is still carried out, Redis was away.
_AGAIN: Final = (codes.REQUEST_TIMEOUT, codes.CONFLICT, codes.SERVICE_UNAVAILABLE)
_AGAIN_AFTER_S: Final = 0.5
_LONGEST_S: Final = 120
_BODY: Final = {"prompt": "a lake at dawn, mountains, mist"}


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def post(here: Fleet, per_s: float, seconds: float) -> list[float]:
    """Seconds until each of the POSTs was answered, from the moment it was due: by other tenants in
    turn, to the APIs in turn, at a fixed rate. Repeats what clients repeat."""
    repeated = 0

    async def send(client: httpx.AsyncClient, number: int, due: float) -> float:
        nonlocal repeated
        await asyncio.sleep(max(0, due - time.perf_counter()))
        while (answer := await send_once(client, number)) is None:
            repeated += 1
            assert time.perf_counter() < due + _LONGEST_S
            await asyncio.sleep(_AGAIN_AFTER_S)
        assert answer.status_code == codes.ACCEPTED, answer.text
        return time.perf_counter() - due

    async def send_once(client: httpx.AsyncClient, number: int) -> httpx.Response | None:
        """None if it is to be sent again: on a busy machine connections are lost."""
        headers = {
            "Authorization": f"Bearer {here.tokens[number % len(here.tokens)]}",
            "Idempotency-Key": keys[number],
        }
        url = f"{here.apis[number % len(here.apis)]}/panoramas"
        try:
            answer = await client.post(url, json=_BODY, headers=headers)
        except httpx.TransportError:
            return None
        return None if answer.status_code in _AGAIN else answer

    count = round(per_s * seconds)
    keys = [uuid.uuid4().hex for _ in range(count)]

    async def all_of_them() -> list[float]:
        # The APIs close connections that idle for 5 s; no request may be on its way to one then.
        limits = httpx.Limits(max_connections=64, keepalive_expiry=2)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            begin = time.perf_counter() + 0.5
            return await asyncio.gather(*(send(client, n, begin + n / per_s) for n in range(count)))

    took_s = asyncio.run(all_of_them())
    if repeated:
        print(f"  {repeated} of {count} POSTs were sent again", flush=True)
    return took_s


def claim(here: Fleet, count: int) -> list[float]:
    """Seconds of so many claims, one after the other; each job is given back."""
    store, model = JobStore(here.redis, here.settings), here.settings.model
    took = []
    for _ in range(count):
        began = time.perf_counter()
        record = store.claim("bench", model)
        took.append(time.perf_counter() - began)
        assert record is not None
        assert record.token is not None
        store.requeue(record.id, record.token, "preempted")
    return took


def sweep_s(here: Fleet) -> float:
    """Of the janitor, comparing job by job as it does once a minute."""
    store, queue = JobStore(here.redis, here.settings), Queue(here.redis)
    began = time.perf_counter()
    queue.compare()
    sweep(store, queue)
    return time.perf_counter() - began


def claims_per_s(claims: Sequence[Claim]) -> float:
    """Over the time in which all workers were at work."""
    times = sorted(each.at for each in claims)
    skipped = len(times) // 10
    middle = times[skipped : -skipped or None]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def fairness(claims: Sequence[Claim], tenants: Sequence[str]) -> float:
    """Jain's index of what these tenants, which all had jobs waiting, were given: 1 if the same.

    Of whole rounds, as far as there are any: within one, some have had their turn and others not.
    """
    in_order = sorted(claims)
    whole = len(in_order) // len(tenants) * len(tenants) or len(in_order)
    given = Counter(each.tenant for each in in_order[:whole])
    shares = [given[tenant] for tenant in tenants]
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
