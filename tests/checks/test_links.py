"""Every local link in a markdown file leads somewhere, headings included."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.checks.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for folder in ("js", "notebooks", "tests")
            for path in (ROOT / folder).rglob("*.md")
            if "node_modules" not in path.parts
        ),
    ]
)


def anchors(path: Path) -> set[str]:
    """The anchors GitHub gives the headings of a document."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-") for heading in HEADING.finditer(text)}


def broken(path: Path) -> list[str]:
    """The local links of a document that lead nowhere."""
    found = []
    for link in LINK.finditer(FENCE.sub("", path.read_text(encoding="utf-8"))):
        place, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = path.parent / place if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link["target"])
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "# The one, heading\n[ok](#the-one-heading) [no](#other) [gone](b.md) [web](https://example.org/x)\n```\n[x](y)\n```\n"
    )
    assert broken(document) == ["#other", "b.md"]
