"""Recognise strings that look like paths of local files, and words of shell commands that may name files. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIKE_A_PATH = re.compile(r"(?!-)[^*?<>|\"{}]*(?:/[^/*?<>|\"{}]+|\.[A-Za-z]\w{0,9})")
"""A last part after a slash, or an extension; no glob pattern, no markup, no option."""

_LONGEST = 1024
"""Longest path, characters: Linux and macOS refuse longer ones."""

_OF_THE_MACHINE = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/", "/var/")
"""Directories that each machine has: a cell that names `/proc/meminfo` means the container's file."""

_REDIRECTED = re.compile(r"\d?>>?\s*[^\s|;&]+")


def command_words(command: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each simple command of a shell text, without the targets of output redirection."""
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
    """Whether a string is probably a path, whatever its context."""
    return may_be_a_name(text) and bool(_LIKE_A_PATH.fullmatch(text))


def may_be_a_name(text: str) -> bool:
    """Whether a string can name a local file: no URL, no line breaks, no file that each machine has."""
    named = text.strip("./~") and len(text) <= _LONGEST and text.isprintable() and text == text.strip()
    return bool(named) and "://" not in text and not text.startswith(_OF_THE_MACHINE)
