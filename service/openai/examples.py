"""The requests and answers under /v1 that the OpenAPI document shows."""

from __future__ import annotations

import base64
from typing import Any, Final

from fastapi.openapi.models import Example

from panoweave.service.openai.schemas import (
    ImageItem,
    ImagesAnswer,
    OpenAIModel,
    OpenAIModelList,
    StreamedImage,
    TokenUsage,
)
from panoweave.service.openapi.examples import JOB_ID

_FINISHED: Final = 1_795_597_252
_PICTURE: Final = base64.b64encode(b"\x89PNG...").decode()

REQUESTS: Final[dict[str, Example]] = {
    "image": {
        "summary": "A panorama as a file in base64",
        "value": {"prompt": "a mountain lake at dawn", "size": "1536x256"},
    },
    "urls": {
        "summary": "Two panoramas as URLs, with the seeds 7 and 8",
        "value": {"prompt": "a mountain lake", "n": 2, "seed": 7, "response_format": "url"},
    },
    "stream": {
        "summary": "A panorama that is seen while it is made",
        "value": {"prompt": "a mountain lake at dawn", "stream": True, "partial_images": 2},
    },
}


def _images(item: ImageItem) -> dict[str, Any]:
    view = ImagesAnswer(created=_FINISHED, data=[item], output_format="png", size="1536x256")
    return {"value": view.model_dump()}


ANSWERS: Final = {
    "image": _images(ImageItem(id=JOB_ID, b64_json=_PICTURE)),
    "url": _images(
        ImageItem(
            id=JOB_ID, url=f"https://s3.example.org/panoweave/default/{JOB_ID}/1/panorama.png"
        )
    ),
}
MODELS: Final = {
    "openai_models": {"value": OpenAIModelList(data=[OpenAIModel(id="embedded")]).model_dump()}
}
# Before OpenAPI 3.2, the schema of a stream describes one event.
STREAM: Final = {
    "schema": {
        "type": "object",
        "description": "One event.",
        "properties": {
            "event": {
                "type": "string",
                "description": "`image_generation.partial_image`, then "
                "`image_generation.completed`; or `error`.",
            },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/StreamedImage"},
                        {"$ref": "#/components/schemas/OpenAIProblem"},
                    ]
                },
                "description": "Of `error`, an `OpenAIProblem`.",
            },
        },
        "required": ["event", "data"],
    },
    "examples": {
        "completed": {
            "value": {
                "event": "image_generation.completed",
                "data": StreamedImage(
                    type="image_generation.completed",
                    b64_json=_PICTURE,
                    created_at=_FINISHED,
                    size="1536x256",
                    output_format="png",
                    id=JOB_ID,
                    usage=TokenUsage(),
                ).model_dump_json(),
            }
        }
    },
}
