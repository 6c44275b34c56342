"""docs/settings.md is what `python -m panoweave.deploy.settings_page` writes."""

from __future__ import annotations

import re
from pathlib import Path

from panoweave.core.infra.settings import Settings
from panoweave.deploy.settings_page import PAGE, render_page

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text() == render_page()


def test_every_setting_has_a_row_that_says_what_it_means() -> None:
    rows = re.findall(r"^\| `PANOWEAVE_(\w+)` \| (.+) \| (.+) \| (.+) \|$", render_page(), re.M)
    assert [name.lower() for name, *_ in rows] == list(Settings.model_fields)
    for name, default, legal, meaning in rows:
        assert default, name
        assert legal, name
        assert meaning.endswith("."), name


def test_what_is_a_length_of_time_says_its_unit() -> None:
    for name, field in Settings.model_fields.items():
        if name.endswith("_s"):
            assert "econds" in (field.description or ""), name
