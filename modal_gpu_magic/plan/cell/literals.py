"""Which texts look like paths of local files, and the words of shell commands that may name some. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIKE_A_PATH = re.compile(r"(?!-)[^*?<>|\"{}]*(?:/[^/*?<>|\"{}]+|\.[A-Za-z]\w{0,9})")
"""A last part behind a slash, or an extension; no pattern, no markup, no option."""

_LONGEST = 1024
"""Characters. Longer strings are texts; the systems we know refuse longer paths in one call."""

_OF_THE_MACHINE = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/", "/var/")
"""Where a container has its own: a cell that names `/proc/meminfo` means the container's."""

_REDIRECTED = re.compile(r"\d?>>?\s*[^\s|;&]+")


def command_words(command: str) -> Iterator[tuple[str, ...]]:
    """Words of each simple command of a shell text that it may read: not where output is redirected to."""
    for line in _REDIRECTED.sub(" ", command).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # quotes that a later line closes
            words = line.split()
        begin = 0
        for number, word in enumerate([*words, ";"]):
            if word in _SEPARATORS or word.endswith(";"):
                yield (*words[begin:number], *filter(None, (word.rstrip(";|&"),)))
                begin = number + 1


_SEPARATORS = frozenset({"&&", "||", "|", ";", "&"})


def looks_like_a_path(text: str) -> bool:
    """Whether a text that stands anywhere is probably meant as a path."""
    return may_be_a_name(text) and bool(_LIKE_A_PATH.fullmatch(text))


def may_be_a_name(text: str) -> bool:
    """Whether a text can name a file here at all: no address, no text with lines, not a file of every machine's own."""
    named = text.strip("./~") and len(text) <= _LONGEST and text.isprintable() and text == text.strip()
    return bool(named) and "://" not in text and not text.startswith(_OF_THE_MACHINE)
