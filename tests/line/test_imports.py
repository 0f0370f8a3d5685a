"""Facts and grammar are the standard library's guests only: `%load_ext` must stay cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
before = set(sys.modules)
import modal_gpu_magic.line.parse, modal_gpu_magic.line.complete, modal_gpu_magic.line.cell, modal_gpu_magic.line.help
import modal_gpu_magic.plan.machine.quote, modal_gpu_magic.catalog.images
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded - sys.stdlib_module_names))
print(*sorted(loaded & {{"difflib", "fractions", "decimal", "asyncio"}}))
"""


def test_nothing_but_the_standard_library_and_of_it_nothing_slow() -> None:
    run = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["modal_gpu_magic", ""]
