"""The documents: every link leads somewhere, and whoever begins at the README finds them all."""

import json
import re
from pathlib import Path

import pytest
from servers import ROOT
from test_house_rules import tracked

DOCUMENTS = tracked("*.md")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
README_LINES = 150


def text_of(document: Path) -> str:
    """Without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)


def links_of(document: Path) -> list[str]:
    return [one or other for one, other in LINK.findall(text_of(document))]


def anchors_of(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_something(document: Path) -> None:
    """A file or a folder of this repository, and the heading in it; others are https."""
    for link in links_of(document):
        if re.match(r"https?:", link):
            assert link.startswith("https://"), link
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists() and target.is_relative_to(ROOT), f"{document.name}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{document.name}: {link}"


def test_all_documents_are_found_from_the_readme() -> None:
    """By links, from one to the next."""
    found, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in found:
            continue
        found.add(document)
        targets = [
            (document.parent / link.partition("#")[0]).resolve() for link in links_of(document)
        ]
        targets = [each / "README.md" if each.is_dir() else each for each in targets]
        waiting += [each for each in targets if each.suffix == ".md"]
    assert found == set(DOCUMENTS)


def test_the_readme_is_short() -> None:
    """What is longer has a page of its own in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_every_address_is_in_the_table() -> None:
    """As they are described for machines, but for the page's own files."""
    paths = json.loads((ROOT / "app" / "web" / "openapi.json").read_text())["paths"]
    table = (ROOT / "docs" / "http.md").read_text()
    asked = {path.partition("{")[0] for path in paths} - {"/static/"}
    assert [
        path for path in asked if not re.search(rf"`GET {re.escape(path)}[\w.?&=`]", table)
    ] == []


def test_what_is_named_is_there() -> None:
    """Files that a text names in its own words, such as `app/web/api.py`."""
    named = re.compile(r"`((?:app|bench|deploy|docs|static|templates|tests)/[\w/.-]+\.\w+)`")
    found = {(d.name, name) for d in DOCUMENTS for name in named.findall(d.read_text())}
    found -= {("CONTRIBUTING.md", "app/sources/toy.py")}  # which a reader adds
    assert len(found) > 10
    assert [each for each in sorted(found) if not (ROOT / each[1]).exists()] == []
