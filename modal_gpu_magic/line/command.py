"""Parse the words of a line magic's command (`put`, `get`, `ls`, `recommend`): plain words and options."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import LineError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a command.

    Attributes:
        plain: the words that are no options.
        flags: the values of the options; `yes` for an option without a value.
    """

    plain: tuple[str, ...]
    flags: dict[str, str]


def read(text: str, flags: Mapping[str, bool], usage: str) -> Words:
    """Parse the words after a command's name.

    Args:
        text: the words.
        flags: the command's options, and whether each takes a value.
        usage: syntax of the command, its name first, for an error.

    Raises:
        LineError: an unknown option, an option without its value, or an unclosed quote.
    """
    name = usage.partition(" ")[0]
    plain: list[str] = []
    given: dict[str, str] = {}
    try:
        words = iter(shlex.split(text))
    except ValueError:
        raise LineError(f"a quote is not closed in: {text}.") from None
    for word in words:
        flag, joined, value = word.partition("=")
        if not word.startswith("--"):
            plain.append(word)
        elif flag not in flags:
            raise LineError(f"{name} has no option {flag}; did you mean {either(nearest(flag, flags) or flags)}?")
        elif joined and not flags[flag]:
            raise LineError(f"{flag} takes no value; write %modal_gpu {usage}.")
        else:
            given[flag] = (value if joined else next(words, "")) if flags[flag] else "yes"
            if not given[flag]:
                raise LineError(f"{flag} has no value; write %modal_gpu {usage}.")
    return Words(tuple(plain), given)
