"""What `%load_ext` says of a Python for which Modal makes no images any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from modal._image import SUPPORTED_PYTHON_SERIES

from modal_gpu_magic.ui.magics.extension import FIRST_PYTHON, about_python
from tests.ui.shell import in_shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("version, lines", [((3, 10), 1), ((3, 11), 0), ((3, 14), 0)])
def test_python_3_10_is_said(version: tuple[int, int], lines: int) -> None:
    said = about_python(version)
    assert len(said) == lines
    assert all("3.11" in line and "2026.10" in line for line in said)


def test_the_sdk_says_the_same() -> None:
    assert f"{FIRST_PYTHON[0]}.{FIRST_PYTHON[1]}" == SUPPORTED_PYTHON_SERIES["2026.10"][0]


def test_load_ext_says_what_its_python_needs(tmp_path: Path) -> None:
    (printed, _) = in_shell(tmp_path, 'out["load"] = run("%load_ext modal_gpu_magic")')["load"]
    assert " ".join(printed.split()) == " ".join(about_python(sys.version_info[:2]))
