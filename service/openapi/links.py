"""OpenAPI links: which requests can follow an answer, and with which of its values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

# The path parameter that is a panorama's id, and the schemas that hold such an id.
_ID: Final = "job_id"
_PANORAMA: Final = "#/components/schemas/PanoramaView"
_PAGE: Final = "#/components/schemas/PanoramaPage"
_READING: Final = "get"


def add(document: dict[str, Any]) -> None:
    """Add links to every operation that answers with panoramas, and to the one that deletes one."""
    with_id = _panorama_operations(document)
    readers = {name: method for name, method in with_id.items() if method == _READING}
    pages = _links(_paged(document), "cursor", "$response.body#/next_cursor", "The next page.")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                schemas = _schemas(response)
                if _PANORAMA in schemas:
                    links = _links(with_id, _ID, "$response.body#/id", "With the panorama's id.")
                elif _PAGE in schemas:
                    newest = "$response.body#/items/0/id"
                    links = _links(with_id, _ID, newest, "With the newest panorama's id.") | pages
                elif (method, status) == ("delete", "204") and path.endswith(f"{{{_ID}}}"):
                    links = _links(readers, _ID, f"$request.path.{_ID}", "404 from now on.")
                else:
                    continue
                response["links"] = links


def _panorama_operations(document: dict[str, Any]) -> dict[str, str]:
    """The operations with a panorama's id in their path: operation id to method."""
    return {
        operation["operationId"]: method
        for path, operations in document["paths"].items()
        if f"{{{_ID}}}" in path
        for method, operation in operations.items()
    }


def _paged(document: dict[str, Any]) -> list[str]:
    return [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if _PAGE in _schemas(operation["responses"].get("200", {}))
    ]


def _links(
    operations: Iterable[str], parameter: str, source: str, description: str
) -> dict[str, Any]:
    return {
        name: {
            "operationId": name,
            "description": description,
            "parameters": {parameter: source},
        }
        for name in operations
    }


def _schemas(response: dict[str, Any]) -> list[str]:
    """The references to what the answer may be."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return [each["$ref"] for each in schema.get("anyOf", [schema]) if "$ref" in each]
