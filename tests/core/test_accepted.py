"""What is accepted can be made: requests with any combination of fields."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.core.drawn_models import MODELS, DrawnModels
from tests.core.drawn_requests import DrawnRequest, requests
from tests.core.making import check

# A panorama takes longer than Hypothesis likes an example to.
_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> DrawnModels:
    return DrawnModels(tmp_path_factory.mktemp("drawn"))


@settings(max_examples=30, derandomize=True, suppress_health_check=_HEALTH)
@given(st.data())
def test_a_request_is_refused_clearly_or_made(models: DrawnModels, data: st.DataObject) -> None:
    """And an estimate counts what is done, step by step; and what is stopped is resumed with equal
    bits."""
    name = data.draw(st.sampled_from(list(MODELS)))
    drawn = data.draw(requests(name, models[name].traits))
    event(check(drawn, models[name]))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", MODELS)
def test_thousands_of_requests_are_refused_clearly_or_made(models: DrawnModels, name: str) -> None:
    """Others each time; Hypothesis prints how to make a failing one again."""

    @settings(max_examples=400, database=None, suppress_health_check=_HEALTH)
    @given(requests(name, models[name].traits))
    def every_request(drawn: DrawnRequest) -> None:
        event(check(drawn, models[name]))

    every_request()
