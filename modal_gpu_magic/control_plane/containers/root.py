"""Files of a container: an empty working directory, a virtual environment, and programs.

Each container has one directory, mode 0700, created before its process starts and removed after its end:

  s, args       the container's socket; the arguments of the SDK's entrypoint
  root/         stands for Modal's /root: working directory and mounts
  venv/         a virtual environment on top of this one, so that `pip install` does not change the user's environment
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from modal_gpu_magic.control_plane.containers.fork_server_program import MARKER
from modal_gpu_magic.control_plane.containers.inherited import inherited
from modal_gpu_magic.control_plane.images.environment import (
    PACKAGE_ROOT,
    PYTHON_NAME,
    installed,
    own_directories,
    site_directories,
)


class ContainerRoot:
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
        """Create the directories and a minimal virtual environment, 100 times as fast as `venv`."""
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
        self.program(
            "torchrun", f'exec {quoted(self.python)} -m torch.distributed.run "$@"'
        )  # so that ranks run in this environment
        self._add_sites("b_notebook", list(dict.fromkeys([*_package_directories(), *site_directories()])))
        (self.site / "c_own.pth").write_text(_REMOVE_OWN_CODE.format(directories=own_directories()))

    def program(self, name: str, command: str) -> None:
        """Add a shell program to the container's PATH."""
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{command}\n")
        file.chmod(0o700)

    def add_overlays(self, directories: list[str]) -> None:
        """Put package directories before the notebook's packages and after those that the container installs."""
        self._add_sites("a_image", directories)

    def _add_sites(self, name: str, directories: list[str]) -> None:
        """Add directories to the import path by a .pth file that also runs their .pth files (editable installs)."""
        lines = [f"import site; site.addsitedir({directory!r})\n" for directory in directories]
        (self.site / f"{name}.pth").write_text("".join(lines))

    def environment(self) -> dict[str, str]:
        """Return the container's base variables: those inherited from the kernel and those of the local backend."""
        env = inherited(os.environ)
        programs = (str(self.bin), str(Path(sys.executable).parent), env.get("PATH", os.defpath))
        return {
            **env,
            "PYTHONPATH": str(self.root),
            "PATH": os.pathsep.join(programs),
            "VIRTUAL_ENV": str(self.venv),
            "IPYTHONDIR": str(self.path / "ipython"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "MODAL_IS_REMOTE": "1",
            MARKER: str(self.path),
        }

    def remove(self) -> None:
        """Remove the directory; files that cannot be removed remain for the system's cleaner."""
        shutil.rmtree(self.path, ignore_errors=True)


def _package_directories() -> list[str]:
    """Return the directories of PYTHONPATH with packages. They come after the image's: `--pip` asks for a version."""
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if _has_packages(entry)]


def _has_packages(entry: str) -> bool:
    """Return whether a directory of PYTHONPATH holds installed packages or this package.

    Other directories hold the user's own code, which in a container of Modal exists only if it was sent.
    """
    return Path(entry).is_absolute() and (entry == str(PACKAGE_ROOT) or bool(installed(entry)))


_REMOVE_OWN_CODE = (
    "import sys; sys.path[:] = [each for each in sys.path if each not in {directories!r}]; "
    "sys.meta_path[:] = [each for each in sys.meta_path if "
    "not str(getattr(each, '__module__', '')).startswith('__editable__')]\n"
)
"""A line of a .pth file that removes what the notebook's .pth files have added for editable installs."""


def quoted(path: str | Path) -> str:
    """Quote a path as one shell word."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def place(target: Path, content: Path, mode: int) -> None:
    """Copy one file into place; `mode` 0 means 0644."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content, target)
    target.chmod((mode & 0o777) or 0o644)
