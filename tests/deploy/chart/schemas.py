"""Strict schemas of what the chart renders: Kubernetes' of several versions, and its operators'.

The latter are in schemas/: see its README.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import kubernetes_validate

from tests.deploy.chart.render import Document, title

KUBERNETES: Final = ("1.33", "1.35", "1.37")
_FOLDER: Final = Path(__file__).with_name("schemas")


def problems(document: Document) -> list[str]:
    """Where a document differs from the schemas of its kind, an unknown field included."""
    key = (document["apiVersion"], document["kind"])
    if custom := _custom().get(key):
        found = [(error.message, error.instance_path) for error in custom.iter_errors(document)]
        return [f"{title(document)}: {'.'.join(map(str, path))}: {text}" for text, path in found]
    wrong = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            wrong.append(f"{title(document)}: {path}: {error.message} (Kubernetes {version})")
        except kubernetes_validate.SchemaNotFoundError as error:
            wrong.append(f"{title(document)}: {error.message}")
    return wrong


@cache
def _custom() -> dict[tuple[str, str], jsonschema_rs.Draft202012Validator]:
    found = {}
    for path in _FOLDER.glob("*.json"):
        described = json.loads(path.read_text())
        schema = _strict(described["schema"])
        key = (described["apiVersion"], described["kind"])
        schema["properties"]["metadata"] = {"type": "object"}
        found[key] = jsonschema_rs.Draft202012Validator(schema)
    return found


def _strict(schema: Any) -> Any:
    """Refuse fields that a schema does not name: the API server would drop them in silence."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: {field: _strict(each) for field, each in value.items()}
        if name == "properties"
        else _strict(value)
        for name, value in schema.items()
    }
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
