"""What a container finds on disk: an empty working directory, an environment to install into, its programs.

One directory a container, mode 0700, made before the process starts and removed when it is gone:

  s, args       the container's socket, and the arguments of the SDK's entrypoint
  root/         what /root is on Modal: working directory, mounts
  venv/         a virtual environment on top of this one: `pip install` lands here, never in the user's environment
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from modal_gpu_magic.control_plane.containers.inherited import inherited
from modal_gpu_magic.control_plane.containers.shim import MARKER
from modal_gpu_magic.control_plane.images.environment import (
    OURS,
    PYTHON_NAME,
    installed,
    own_directories,
    site_directories,
)


class World:
    """The directory of one container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.venv = path / "venv"
        self.bin = self.venv / "bin"
        self.python = self.bin / "python"
        self.site = self.venv / "lib" / PYTHON_NAME / "site-packages"
        self.socket = path / "s"
        self.arguments = path / "args"

    def make(self) -> None:
        """Make the directories, and the few files that are a virtual environment: `venv` takes 100 times as long."""
        self.path.mkdir(mode=0o700)
        for directory in (self.root, self.site, self.bin):
            directory.mkdir(parents=True)
        base = Path(getattr(sys, "_base_executable", sys.executable))
        self.python.symlink_to(base)
        for alias in ("python3", PYTHON_NAME):
            (self.bin / alias).symlink_to("python")
        (self.venv / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        for name in ("pip", "pip3"):
            self.program(name, f'exec {quoted(self.python)} -m pip "$@"')
        self.program("torchrun", f'exec {quoted(self.python)} -m torch.distributed.run "$@"')  # so that ranks are in it
        self._add_sites("b_notebook", site_directories())
        (self.site / "c_own.pth").write_text(_WITHOUT.format(directories=own_directories()))

    def program(self, name: str, command: str) -> None:
        """Put a shell program on the container's PATH."""
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{command}\n")
        file.chmod(0o700)

    def add_overlays(self, directories: list[str]) -> None:
        """Put directories of packages before the notebook's, behind what the container installs itself."""
        self._add_sites("a_image", directories)

    def _add_sites(self, name: str, directories: list[str]) -> None:
        """Add directories to the import path by a .pth file; its lines run their own .pth files (editable installs)."""
        lines = [f"import site; site.addsitedir({directory!r})\n" for directory in directories]
        (self.site / f"{name}.pth").write_text("".join(lines))

    def environment(self) -> dict[str, str]:
        """The variables of the container before its function's own: those that it needs of the kernel's, and ours."""
        env = inherited(os.environ)
        paths = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if _is_the_images(entry)]
        programs = (str(self.bin), str(Path(sys.executable).parent), env.get("PATH", os.defpath))
        return {
            **env,
            "PYTHONPATH": os.pathsep.join([str(self.root), *paths]),
            "PATH": os.pathsep.join(programs),
            "VIRTUAL_ENV": str(self.venv),
            "IPYTHONDIR": str(self.path / "ipython"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "MODAL_IS_REMOTE": "1",
            MARKER: str(self.path),
        }

    def remove(self) -> None:
        """Remove everything; what user code made undeletable stays for the system's cleaner."""
        shutil.rmtree(self.path, ignore_errors=True)


def _is_the_images(entry: str) -> bool:
    """Whether a directory of PYTHONPATH stands for something of the image: packages, or this very package.

    The user's own code does not: in Modal's container it is only what was sent there.
    """
    return Path(entry).is_absolute() and (entry == str(OURS) or bool(installed(entry)))


_WITHOUT = (
    "import sys; sys.path[:] = [each for each in sys.path if each not in {directories!r}]; "
    "sys.meta_path[:] = [each for each in sys.meta_path if "
    "not str(getattr(each, '__module__', '')).startswith('__editable__')]\n"
)
"""A line of a .pth file: what the notebook's own ones have added for editable installs goes again."""


def quoted(path: str | Path) -> str:
    """A path as one shell word."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def place(target: Path, content: Path, mode: int) -> None:
    """Lay one file out as a copy of its content; `mode` 0 is the usual one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content, target)
    target.chmod((mode & 0o777) or 0o644)
