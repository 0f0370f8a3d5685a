"""The words of a line magic's command (`put`, `get`, `ls`, `recommend`): plain words, and options with their values."""

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
    """What a line says: its plain words, and the values of its options; of one that takes none, `yes`."""

    plain: tuple[str, ...]
    flags: dict[str, str]


def read(text: str, flags: Mapping[str, bool], usage: str) -> Words:
    """Read the words behind a command's name.

    Args:
        text: the words.
        flags: the command's options, and whether each takes a value.
        usage: how the command is written, its name first, for an error.

    Raises:
        LineError: an option that the command does not have, one without its value, or a quote that is not closed.
    """
    name = usage.partition(" ")[0]
    plain: list[str] = []
    given: dict[str, str] = {}
    try:
        left = iter(shlex.split(text))
    except ValueError:
        raise LineError(f"a quote is not closed in: {text}.") from None
    for word in left:
        flag, joined, value = word.partition("=")
        if not word.startswith("--"):
            plain.append(word)
        elif flag not in flags:
            raise LineError(f"{name} has no option {flag}; did you mean {either(nearest(flag, flags) or flags)}?")
        elif joined and not flags[flag]:
            raise LineError(f"{flag} takes no value; write %modal_gpu {usage}.")
        else:
            given[flag] = (value if joined else next(left, "")) if flags[flag] else "yes"
            if not given[flag]:
                raise LineError(f"{flag} has no value; write %modal_gpu {usage}.")
    return Words(tuple(plain), given)
