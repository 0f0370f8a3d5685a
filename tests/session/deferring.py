"""Packages that say when they are imported, and a namespace in the place of a notebook's."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {
    "heavy/__init__.py": "import sys\nsys.imported = [*getattr(sys, 'imported', ()), 'heavy']\n"
    "__version__ = '1.2'\nLIMIT = 3\nSETTINGS = {'lr': 0.1}\n"
    "class Model:\n    'A model.'\n    def __init__(self, x=1): self.x = x\n"
    "def double(x: int) -> int:\n    'Twice x.'\n    return 2 * x\n"
    "def __getattr__(name):\n    if name == 'lazy':\n        import heavy.part\n        return heavy.part.LAZY\n"
    "    raise AttributeError(f\"module 'heavy' has no attribute {name!r}\")\n",
    "heavy/part.py": "import sys\nsys.imported.append('heavy.part')\ndef half(x): return x / 2\ndef LAZY(): return 'lazy'\n",
    "heavy/other.py": "value = 1\n",
    "broken.py": "raise RuntimeError('broken for good')\n",
    "needy.py": "import module_that_is_nowhere\n",
    "slow.py": "raise KeyboardInterrupt\n",
}


@dataclass
class Packages:
    """The packages of `FILES`, importable as long as the test runs."""

    namespace: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})

    @property
    def imported(self) -> list[str]:
        """What has been imported so far."""
        return list(getattr(sys, "imported", ()))

    @staticmethod
    def forget() -> None:
        """As if this process had imported none of them."""
        for name in [each for each in sys.modules if each.partition(".")[0] in ("heavy", "broken", "needy", "slow")]:
            del sys.modules[name]
        if hasattr(sys, "imported"):
            del sys.imported


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    for name, text in FILES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    importlib.invalidate_caches()
    yield Packages()
    Packages.forget()
