"""python -m tests.deploy.chart: checks the chart with each value file, in `make lint`."""

from __future__ import annotations

import json
import sys

from tests.deploy.chart.policies import broken_rules
from tests.deploy.chart.render import NAMES, Document, lint, rendered
from tests.deploy.chart.schemas import KUBERNETES, problems


def main() -> int:
    wrong: list[str] = []
    distinct: dict[str, tuple[str, Document]] = {}
    for name in NAMES:
        wrong += [f"{name}: {each}" for each in (*lint(name), *broken_rules(rendered(name)))]
        distinct |= {json.dumps(each, sort_keys=True): (name, each) for each in rendered(name)}
    for name, document in distinct.values():
        wrong += [f"{name}: {each}" for each in problems(document)]
    for each in wrong:
        print(each, file=sys.stderr)
    if not wrong:
        kinds = {document["kind"] for _, document in distinct.values()}
        print(
            f"chart: {len(NAMES)} value files, {len(distinct)} documents of {len(kinds)} kinds fit "
            f"Kubernetes {', '.join(KUBERNETES)}, the operators' schemas and the rules"
        )
    return bool(wrong)


sys.exit(main())
