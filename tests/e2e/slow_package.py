"""A package that takes a minute to build, so that an image with it does: `--pip mg-slow`."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

SLOW_BACKEND = """
import time

def build_wheel(*_):
    time.sleep(60)

prepare_metadata_for_build_wheel = build_wheel
"""

SLOW_PROJECT = """
[build-system]
requires = []
build-backend = "slow"
backend-path = ["."]

[project]
name = "mg-slow"
version = "1.0"
"""


def slow_package(folder: Path) -> str:
    """Put it into a folder; returns what PIP_FIND_LINKS must be for pip to find it there."""
    source = folder / "mg_slow-1.0"
    source.mkdir()
    (source / "pyproject.toml").write_text(SLOW_PROJECT)
    (source / "slow.py").write_text(SLOW_BACKEND)
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mg-slow\nVersion: 1.0\n")
    with tarfile.open(folder / "mg_slow-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "mg_slow-1.0")
    return f"{os.environ.get('PIP_FIND_LINKS', '')} {folder}".strip()
