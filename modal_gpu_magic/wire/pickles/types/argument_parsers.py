"""Pickle the parts of argparse's parsers: argparse recognises the text of `argparse.SUPPRESS` by identity."""

from __future__ import annotations

import copyreg
import sys
from typing import Any

from modal_gpu_magic.wire.values.attributes import tells_all


def is_parser_part(kind: type) -> bool:
    """Whether a class is that of a parser, a group of arguments, or an argument, with a pickle of no own making."""
    argparse: Any = sys.modules.get("argparse")
    bases = (getattr(argparse, name, None) for name in ("Action", "_ActionsContainer"))
    is_part = any(isinstance(base, type) and issubclass(kind, base) for base in bases)
    return is_part and tells_all(kind)


def reduce_parser_part(_: Any, part: Any) -> Any:
    """Return the reduction of a part, with a stand-in for each attribute that is `argparse.SUPPRESS`."""
    suppress = sys.modules["argparse"].SUPPRESS
    state = {name: _SUPPRESS if value is suppress else value for name, value in vars(part).items()}
    return copyreg.__newobj__, (type(part),), state  # type: ignore[attr-defined]  # pickle's own name for `__new__`


def suppress() -> str:
    """Return `argparse.SUPPRESS` of this process."""
    import argparse

    return argparse.SUPPRESS


class _Suppress:
    """Stands for `argparse.SUPPRESS`."""

    def __reduce__(self) -> Any:
        return suppress, ()


_SUPPRESS = _Suppress()
