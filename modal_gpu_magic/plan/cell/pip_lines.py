"""Find the packages that a cell installs itself, by `!pip install` or `%pip install`."""

from __future__ import annotations

import re
import shlex

_INSTALL = re.compile(
    r"^[ \t]*[!%]+[ \t]*(?:uv[ \t]+)?(?:[\w./]*python[\d.]*[ \t]+-m[ \t]+)?pip[\d.]*[ \t]+install[ \t]+(.+)$",
    re.MULTILINE,
)
_WITH_VALUE = frozenset(
    {"-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links"}
    | {"-e", "--editable", "-t", "--target", "--prefix", "--timeout", "--retries"}
)
"""Options of pip that the next word belongs to."""


def installed_by(source: str) -> tuple[str, ...] | None:
    """Return the packages that a cell's pip lines name; None: the cell has no such line.

    Args:
        source: the cell as typed.
    """
    lines = _INSTALL.findall(source)
    return tuple(dict.fromkeys(word for line in lines for word in _packages(line))) if lines else None


def _packages(line: str) -> list[str]:
    try:
        words = iter(shlex.split(line, comments=True))
    except ValueError:
        return []
    found = []
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-") and re.match(r"[A-Za-z0-9]", word):
            found.append(word)
    return found
