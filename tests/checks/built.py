"""Whether the built front end is up to date with its sources; needs no node. `python tests/checks/built.py`."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "modal_gpu_magic" / "ui" / "static"


def sources_hash(js: Path) -> str:
    """The hash that `js/build.mjs` writes into what it builds."""
    names = sorted(path.name for path in (js / "src").iterdir())
    digest = hashlib.sha256()
    for name in [*(f"src/{name}" for name in names), "build.mjs", "package-lock.json"]:
        digest.update(name.encode() + b"\0" + (js / name).read_bytes() + b"\0")
    return digest.hexdigest()


def stale(static: Path, js: Path) -> list[str]:
    """The built files that were made from other sources."""
    wanted = sources_hash(js)
    built = sorted(path for path in static.iterdir() if path.suffix in (".js", ".css"))
    return [path.name for path in built if _written(path) != wanted] or ([] if built else ["nothing is built"])


def _written(path: Path) -> str:
    found = re.match(r"/\* built from js/, sources ([0-9a-f]{64}) \*/", path.read_text("utf-8"))
    return found[1] if found else ""


if __name__ == "__main__":
    old = stale(STATIC, ROOT / "js")
    if old:
        sys.exit(f"Built from other sources: {', '.join(old)}. Run `make js`, and commit what it builds.")
