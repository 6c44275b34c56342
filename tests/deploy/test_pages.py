"""Every Markdown page: its links lead somewhere, and the files that it names exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.pages import ROOT

_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
).stdout.splitlines()
PAGES = sorted({path for path in _LISTED if (ROOT / path).exists()})

# These record what was true at their time.
HISTORY = ("CHANGELOG.md", "docs/LOG.md", "docs/decisions/")

_LINK = re.compile(r"\]\(<?([^)>\s]+)>?\)")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2", re.M | re.S)
_FILE = re.compile(
    r"`((?:core|service|worker|deploy|bench|tests|docs|examples|panoweave)/[\w./-]+)`"
)


def text_of(path: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.+?) *$", text_of(path), re.M)
    bare = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in bare}


def test_the_pages_are_found() -> None:
    assert {"README.md", "ARCHITECTURE.md", "docs/api.md", "docs/how-to/deploy.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(text_of(ROOT / page)):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith(HISTORY)])
def test_files_that_are_named_exist(page: str) -> None:
    missing = [name for name in _FILE.findall(text_of(ROOT / page)) if not (ROOT / name).exists()]
    assert not missing


def test_the_architecture_names_functions_that_exist() -> None:
    """In a table's row, each name in backticks beside a file is a function or class in it."""
    checked = 0
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        files = re.findall(r"`([\w/]+\.(?:py|lua))`", line)
        if not line.startswith("|") or not files:
            continue
        sources = "\n".join((ROOT / file).read_text() for file in files)
        for names in re.findall(r"`(\w+(?:\.\w+)?)`", line):
            for name in names.split("."):
                assert re.search(rf"^ *(async )?(def|class) {name}\b", sources, re.M), names
            checked += 1
    assert checked > 20


def test_the_symbols_of_the_paper_lead_to_names_that_exist() -> None:
    checked = 0
    for line in (ROOT / "docs/algorithm.md").read_text().splitlines():
        files = re.findall(r"`([\w/]+\.py)`", line)
        if line.startswith("|") and files:
            source = "\n".join((ROOT / file).read_text() for file in files)
            for name in re.findall(r"`(?:\w+\.)?(\w+)(?:\(\.\.\.\))?`", line):
                assert re.search(rf"\b{name}\b", source), (files, name)
                checked += 1
    assert checked > 10


def test_every_redis_key_has_an_owner() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    sources = [*(ROOT / "core").rglob("*.lua"), ROOT / "core/infra/redis_keys.py"]
    text = "\n".join(source.read_text() for source in sources)
    names = set(re.findall(r"(?:P \.\. '|PREFIX \+ \"|\{PREFIX\}|'panoweave:)(\w+)", text))
    assert len(names) > 20
    assert {name for name in names if not re.search(rf"`{name}[`:]", page)} == set()


def test_decisions_are_listed() -> None:
    listed = re.findall(
        r"\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs/decisions/README.md").read_text()
    )
    assert listed == sorted(file.name for file in (ROOT / "docs/decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith(HISTORY)])
def test_modules_that_are_run_exist(page: str) -> None:
    for module in re.findall(
        r"python -m ((?:bench|tests|panoweave)\.[\w.]+)", (ROOT / page).read_text()
    ):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
