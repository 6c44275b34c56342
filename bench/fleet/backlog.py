"""Jobs that wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from tests.jobs.samples import TRAITS

_MOST_OF_A_REQUEST: Final = 50  # one by one, a hundred thousand take minutes
_SAID_EVERY: Final = 10_000


def tenant(number: int) -> str:
    return f"tenant-{number}"


def fill(store: JobStore, model: str, jobs: int, tenants: int) -> None:
    """Queue so many jobs more. A tenth of the tenants have half of them."""
    params = PanoramaParams(prompt="a lake at dawn, mountains, mist").resolve(TRAITS)
    of_a_request = max(1, min(_MOST_OF_A_REQUEST, jobs // (2 * tenants)))
    done = 0
    for whose in _turns(tenants):
        count = min(of_a_request, jobs - done)
        if count <= 0:
            break
        store.create_all([JobRecord.new(params, model, whose, {}) for _ in range(count)])
        done += count
        if done // _SAID_EVERY > (done - count) // _SAID_EVERY:
            print(f"  {done:,} of {jobs:,} jobs queued", flush=True)


def _turns(tenants: int) -> Iterator[str]:
    few, number = max(1, tenants // 10), 0
    while True:
        yield tenant(number % tenants)
        yield tenant(number % few)
        number += 1
