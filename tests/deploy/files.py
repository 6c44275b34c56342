"""The compose file, the Dockerfile, alerts and dashboard, as tests read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

_ROOT: Final = Path(__file__).parents[2]

COMPOSE: Final = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
DOCKERFILE: Final = (_ROOT / "Dockerfile").read_text()
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((_ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: Final = json.loads((_ROOT / "deploy/grafana/panoweave.json").read_text())
