"""The HTTP service: `create_app(settings)`. Knows no torch and no worker code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, ProcessCollector

from core.jobs.settings import Settings
from service import access, errors, openapi
from service.body import JsonBody
from service.context import open_context
from service.headers import SecurityHeaders
from service.metrics import jobs_shown
from service.routes import deliveries, events, health, metrics, models, panoramas, uploads
from service.watch import open_watch

_DOCS = "/docs"


def create_app(settings: Settings) -> FastAPI:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_context(settings) as context, jobs_shown(registry, context):
            async with open_watch(settings) as watch:
                app.state.context, app.state.watch = context, watch
                yield

    # Its pages load nothing from elsewhere.
    app = FastAPIOffline(
        docs_url=_DOCS,
        redoc_url=None,
        title="panoweave",
        version=version("panoweave"),
        description="Wide, coherent panoramas from text. "
        "Refusals are `application/problem+json` with a stable `code`.",
        lifespan=lifespan,
        telemetry=access.TELEMETRY,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.registry, app.state.scrapers = registry, metrics.Scrapers(settings.host)
    app.add_middleware(JsonBody)
    app.add_middleware(SecurityHeaders, pages=frozenset({_DOCS}))
    access.install(app, registry)
    errors.install(app)
    openapi.install(app)
    for routes in (panoramas, events, deliveries, uploads, models, health, metrics):
        app.include_router(routes.router)
    return app
