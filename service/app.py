"""The HTTP service: `create_app(settings)`. It imports neither torch nor the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, ProcessCollector

from panoweave.core.infra.settings import Settings
from panoweave.service import health, keys, models, scaling, tenants, tokens, uploads, usage
from panoweave.service.dependencies import open_context
from panoweave.service.http import access_log, error_handlers, parameters
from panoweave.service.http.authentication import KeyBeforeBody
from panoweave.service.http.body import BodyMemory, JsonBody
from panoweave.service.http.cors import Cors, allowed_origins
from panoweave.service.http.headers import SecurityHeaders
from panoweave.service.http.hosts import AllowedHosts, allowed_hosts
from panoweave.service.http.methods import HeadAsGet
from panoweave.service.http.rate_limits import RateLimitHeaders
from panoweave.service.metrics import routes as metrics
from panoweave.service.metrics.collector import job_metrics_registered
from panoweave.service.openai import routes as openai
from panoweave.service.openai.errors import OpenAIErrors
from panoweave.service.openapi import document
from panoweave.service.panoramas import events
from panoweave.service.panoramas import routes as panoramas
from panoweave.service.panoramas.subscriptions import open_subscriptions
from panoweave.service.studio import routes as studio
from panoweave.service.webhooks import pings
from panoweave.service.webhooks import routes as deliveries

_DOCS = "/docs"


def create_app(settings: Settings) -> FastAPI:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_context(settings) as context, job_metrics_registered(registry, context):
            async with open_subscriptions(settings) as subscriptions:
                app.state.context, app.state.subscriptions = context, subscriptions
                yield

    # FastAPIOffline serves the files that /docs loads; FastAPI would load them from a CDN.
    app = FastAPIOffline(
        docs_url=_DOCS,
        redoc_url=None,
        title="panoweave",
        version=version("panoweave"),
        description="Wide, coherent panoramas from text. "
        "Refusals are `application/problem+json` with a stable `code`.",
        lifespan=lifespan,
        telemetry=access_log.TELEMETRY,
        redirect_slashes=False,
        dependencies=[Depends(parameters.refuse_unknown_query)],
        generate_unique_id_function=document.operation_id,
    )
    app.state.registry = registry
    app.state.allowed_scrapers = metrics.AllowedScrapers(settings)
    app.add_middleware(JsonBody, memory=BodyMemory(settings.bodies_max_bytes))
    app.add_middleware(KeyBeforeBody)
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(HeadAsGet)
    origins = allowed_origins(settings)
    if origins:
        app.add_middleware(Cors, origins=origins)
    app.add_middleware(AllowedHosts, allowed=allowed_hosts(settings))
    app.add_middleware(OpenAIErrors)
    app.add_middleware(SecurityHeaders, pages=frozenset({_DOCS}), cross_origin=bool(origins))
    access_log.install(app, registry)
    error_handlers.install(app)
    document.install(app)
    for routes in (
        *(panoramas, events, deliveries, uploads, tokens, usage, models, health, scaling, metrics),
        *(openai, keys, tenants, pings),
    ):
        app.include_router(routes.router)
    studio.install(app)
    parameters.install(app)
    return app
