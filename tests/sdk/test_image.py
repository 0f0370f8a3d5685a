"""Pins of the image's packages, and which of our files travel to the container."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import modal_gpu_magic
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.sdk.image import RUNTIME_PACKAGES, build, local_version
from modal_gpu_magic.sdk.package_source import BATCH, Others, batches, container_files

PACKAGE = Path(modal_gpu_magic.__file__).parent


def test_a_build_tag_is_no_part_of_the_version() -> None:
    assert local_version("torch") == version("torch").split("+")[0]
    assert local_version("no-such-package-here") is None
    assert all(local_version(package) for package in RUNTIME_PACKAGES)


def test_an_image_variable_that_holds_something_else_is_refused() -> None:
    with pytest.raises(MachineError, match=r"--image mine is a int, not a modal\.Image"):
        build(Machine(image="variable:mine", image_object=3), ())


TRAVELLING = container_files()


@pytest.mark.parametrize(
    "path, travels",
    [
        ("container/worker.py", True),
        ("wire/messages/events.py", True),
        ("metrics/sample.py", True),
        ("__init__.py", True),
        ("_version.py", True),
        ("errors.py", True),
        ("sdk/entry.py", True),
        ("sdk/nodes.py", True),
        ("sdk/client.py", False),
        ("ui/magics/magic.py", False),
        ("ui/magics/remote_errors.py", False),
        ("control_plane/server.py", False),
        ("wire/__pycache__/events.cpython-311.pyc", False),
    ],
)
def test_which_files_travel(path: str, travels: bool) -> None:
    assert (path in TRAVELLING) is travels


def test_each_file_is_in_one_mount_that_is_checked_by_one_request() -> None:
    mounts = batches(TRAVELLING)
    assert sorted(file for mount in mounts for file in mount) == TRAVELLING
    assert {len(mount) <= BATCH for mount in mounts} == {True}
    assert len(mounts) == math.ceil(len(TRAVELLING) / BATCH)


def test_a_mount_lists_the_directories_of_its_files_alone() -> None:
    """The SDK lists each mount twice when an App opens: all of this package would take it longer than all requests."""
    (first, *_) = batches(TRAVELLING)
    leaves_out = Others(first)
    found: list[str] = []
    listed = 0
    for root, directories, files in os.walk(PACKAGE):
        here = Path(root).relative_to(PACKAGE)
        listed += len(files)
        directories[:] = [name for name in directories if not leaves_out(here / name)]
        found += [(here / name).as_posix() for name in files if not leaves_out(PACKAGE / here / name)]
    assert sorted(found) == sorted(first)
    assert leaves_out.can_prune_directories()
    assert listed < 2 * BATCH


def test_what_travels_is_enough_for_the_container(tmp_path: Path) -> None:
    """Every module that travels is imported where nothing else of ours is."""
    for name in TRAVELLING:
        target = tmp_path / "modal_gpu_magic" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, target)
    modules = [f"modal_gpu_magic.{name[:-3].replace('/', '.')}" for name in TRAVELLING if "__init__" not in name]
    source = (
        f"import sys, importlib; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"for name in {['modal_gpu_magic.sdk.entry', *modules]!r}: importlib.import_module(name)\n"
        "import modal_gpu_magic; print(modal_gpu_magic.__file__)"
    )
    child = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path, env={})
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == str(tmp_path / "modal_gpu_magic" / "__init__.py")
