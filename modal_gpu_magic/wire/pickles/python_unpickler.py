"""Adapter of `pickle._Unpickler`: pickle's loader written in Python, whose opcodes can be replaced one by one.

Undocumented, but pickle's reference implementation, which the standard library's own tests run. Tested with Python
3.10 to 3.13. Symptom if this breaks: a transfer of which one value cannot be made brings none of its values.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PythonUnpickler: Any = pickle._Unpickler  # noqa: SLF001 - what this module adapts
OPCODES: Mapping[int, Callable[[Any], None]] = PythonUnpickler.dispatch
"""What is done for each opcode."""
