"""Writes docs/settings.md, the table of all settings: `python -m panoweave.deploy.settings_page`.

A test compares the page with the settings, so run this after each change of a setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from panoweave.core.infra.settings import Settings
from panoweave.deploy.environment import ENV_PREFIX

PAGE: Final = Path("docs/settings.md")
_HEAD: Final = """\
# Settings

Every process of panoweave reads these environment variables when it starts. An empty variable
counts as not set. A value that is not legal ends the process with an error that names the variable.

This page is made from `core/infra/settings.py` by `python -m panoweave.deploy.settings_page`.

| variable | default | legal values | meaning |
| --- | --- | --- | --- |
"""


def render_page() -> str:
    schema = Settings.model_json_schema(mode="validation")["properties"]
    rows = [_row(name, field, schema[name]) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows)


def _row(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    cells = (
        f"`{ENV_PREFIX}{name.upper()}`",
        _default(field.default),
        " or ".join(filter(None, map(_legal_values, schema.get("anyOf", [schema])))),
        field.description or "",
    )
    return f"| {' | '.join(cells)} |\n"


def _default(value: object) -> str:
    match value:
        case None:
            return "not set"
        case SecretStr():
            return f"`{value.get_secret_value()}`"
        case bool():
            return f"`{str(value).lower()}`"
        case float():
            return f"`{value:g}`"
    return f"`{value}`"


def _legal_values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema["type"]:
        case "null":
            return ""
        case "object":
            return "a JSON object"
        case "boolean":
            return "`true`, `false`"
        case "integer":
            most = f" to {schema['maximum']}" if "maximum" in schema else ""
            return f"a whole number from {schema['minimum']}" + most
        case "number":
            return f"a number above {schema['exclusiveMinimum']:g}"
    return "text"


if __name__ == "__main__":
    PAGE.write_text(render_page())
