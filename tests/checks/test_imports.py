"""`import modal_gpu_magic` and `%load_ext` stay light, and the far side runs without the kernel's packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "modal",
    "torch",
    "numpy",
    "pandas",
    "ipywidgets",
    "anywidget",
    "rich",
    "matplotlib",
    "grpclib",
    "google.protobuf",
)

LOADED = f"""
import sys
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def child(source: str) -> str:
    """What a fresh interpreter prints when it runs `source`."""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "source",
    [
        "import modal_gpu_magic",
        "import modal_gpu_magic.catalog.gpus",
        "import modal_gpu_magic.line.parse",
        "import modal_gpu_magic.wire.messages.events",
        "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.instance().run_cell('%load_ext modal_gpu_magic')",
    ],
)
def test_import_is_light(source: str) -> None:
    assert child(source + LOADED).splitlines()[-1] == "[]"


def test_the_face_imports_nothing_but_the_standard_library() -> None:
    """The container imports it too, before anything of ours is installed there."""
    source = (
        "import sys; before = set(sys.modules)\n"
        "import modal_gpu_magic\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(tops - set(sys.stdlib_module_names)))"
    )
    assert child(source) == "['modal_gpu_magic']"


def test_the_far_side_runs_without_modal() -> None:
    """`container` is plain Python: it must load where the SDK does not exist."""
    assert (
        child("import sys; sys.modules['modal'] = None\nimport modal_gpu_magic.container.worker\nprint('loaded')")
        == "loaded"
    )


def test_the_control_plane_starts_without_the_sdk() -> None:
    """It needs the SDK's protocol alone; `modal` would take two thirds of its start."""
    assert child("import modal_gpu_magic.control_plane.running, sys\nprint('modal' in sys.modules)") == "False"
