"""`--pip NAME==VERSION` takes effect where this package is installed beside another version, as by `pip install`."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import modal_gpu_magic
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)
SEEN = "import mg_tiny, importlib.metadata as m\nmg_tiny.VERSION, m.version('mg-tiny')"


RECORD = "mg_tiny.py,,\n"


def metadata(version: str) -> str:
    return f"Metadata-Version: 2.1\nName: mg-tiny\nVersion: {version}\n"


def wheel(folder: Path, version: str) -> None:
    """A wheel of one module."""
    info = f"mg_tiny-{version}.dist-info"
    with zipfile.ZipFile(folder / f"mg_tiny-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("mg_tiny.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", metadata(version))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", RECORD)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel whose site-packages have this package and mg-tiny 1.0; pip finds 2.0."""
    site = tmp_path / "lib" / "site-packages"
    package = Path(modal_gpu_magic.__file__).parent
    shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    with_info = site / "mg_tiny-1.0.dist-info"
    with_info.mkdir()
    (with_info / "METADATA").write_text(metadata("1.0"))
    (with_info / "RECORD").write_text(RECORD)
    (site / "mg_tiny.py").write_text("VERSION = '1.0'\n")
    wheel(tmp_path, "2.0")
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {tmp_path}".strip()
    with Kernel(env={"PYTHONPATH": str(site), "PIP_FIND_LINKS": links}) as kernel:
        kernel.load()
        assert str(site) in kernel.run("import modal_gpu_magic\nmodal_gpu_magic.__file__").value()
        yield kernel


def test_in_the_first_cell(installed: Kernel) -> None:
    first = installed.remote(SEEN, "T4 --pip mg-tiny==2.0", timeout=110)
    assert first.value() == "('2.0', '2.0')"
    assert installed.run(SEEN).value() == "('1.0', '1.0')"


def test_in_a_later_cell(installed: Kernel) -> None:
    assert installed.remote("1", "T4").ok
    later = installed.remote(SEEN, "T4 --pip mg-tiny==2.0", timeout=110)
    assert later.value() == "('2.0', '2.0')"


def test_what_is_imported_already_is_said(installed: Kernel) -> None:
    assert installed.remote(SEEN, "T4").value() == "('1.0', '1.0')"
    later = installed.remote("import mg_tiny\nmg_tiny.VERSION", "T4 --pip mg-tiny==2.0", timeout=110)
    assert later.ok, later.error
    if later.value() != "'2.0'":
        assert "mg_tiny 1.0 is imported already" in later.said
        assert "%modal_gpu stop" in later.said
    assert installed.run("%modal_gpu stop").ok
    assert installed.remote(SEEN, "T4 --pip mg-tiny==2.0", timeout=110).value() == "('2.0', '2.0')"
