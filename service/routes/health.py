"""Whether this process lives, and whether it can take work."""

from __future__ import annotations

from fastapi import APIRouter

from core.jobs.connection import redis_away_is_store_unavailable
from service.context import InContext
from service.errors import RedisAway
from service.openapi import refusals
from service.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez")
async def live() -> Health:
    """Depends on nothing: a restart would not bring Redis back."""
    return Health(status="alive")


@router.get("/readyz", responses=refusals(RedisAway, needs_key=False))
def ready(context: InContext) -> Health:
    with redis_away_is_store_unavailable():
        context.redis.ping()
    return Health(status="ready")
