"""The HTTP service: `create_app(settings)`. Knows no torch and no worker code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from core.jobs.settings import Settings
from service import errors, openapi
from service.body import JsonBody
from service.context import open_context
from service.headers import SecurityHeaders
from service.routes import events, health, models, panoramas, uploads
from service.watch import open_watch

_DOCS = "/docs"


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_context(settings) as context:
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
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.add_middleware(JsonBody)
    app.add_middleware(SecurityHeaders, pages=frozenset({_DOCS}))
    errors.install(app)
    openapi.install(app)
    for router in (panoramas.router, events.router, uploads.router, models.router, health.router):
        app.include_router(router)
    return app
