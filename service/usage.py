"""GET /usage: what the caller's tenant has used."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from panoweave.core.jobs import usage
from panoweave.core.jobs.usage import Usage
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import TenantDep
from panoweave.service.http.errors import InvalidRequest, JobStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.schemas import UsageItem, UsageView

router = APIRouter(tags=["usage"])


@router.get(
    "/usage",
    responses={
        200: answer("The usage.", shows=("usage",)),
        **refusals(InvalidRequest, JobStoreUnavailable),
    },
)
def get_usage(
    context: ContextDep,
    tenant: TenantDep,
    by: Annotated[
        Literal["day", "month"], Query(description="The length of a period, in UTC.")
    ] = "day",
) -> UsageView:
    """What the tenant has used, and how much of its room for records is taken."""
    periods: defaultdict[str, Usage] = defaultdict(Usage)
    for day, used in usage.by_day(context.redis, tenant).items():
        period = day.isoformat() if by == "day" else f"{day:%Y-%m}"
        periods[period] = periods[period].plus(used)
    return UsageView(
        items=[
            UsageItem(
                period=period,
                panoramas=used.panoramas,
                gpu_s=round(used.gpu_s, 3),
                bytes=used.bytes,
            )
            for period, used in periods.items()
        ],
        kept_bytes=usage.kept_bytes(context.redis, tenant),
        max_kept_bytes=context.settings.tenant_max_bytes,
    )
