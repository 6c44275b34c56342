"""A client of panoweave's API, which makes wide, coherent panoramas from text.

    with Panoweave("http://127.0.0.1:8000") as panoweave:
        panorama = panoweave.make(prompt="a mountain lake at dawn", width=1536)
        panoweave.download(panorama.id, "lake.png")

`AsyncPanoweave` has the same methods, to await.
"""

from panoweave_client._async.client import AsyncPanoweave
from panoweave_client._sync.client import Panoweave
from panoweave_client.errors import (
    ApiError,
    ConnectionFailed,
    PanoramaFailed,
    PanoweaveError,
    UnexpectedAnswer,
    WebhookRefused,
)
from panoweave_client.events import Event
from panoweave_client.version import __version__
from panoweave_client.webhooks import verify_webhook

__all__ = [
    "ApiError",
    "AsyncPanoweave",
    "ConnectionFailed",
    "Event",
    "PanoramaFailed",
    "Panoweave",
    "PanoweaveError",
    "UnexpectedAnswer",
    "WebhookRefused",
    "__version__",
    "verify_webhook",
]
