"""What a container finds on disk: an empty working directory, an environment to install into, its mounts and volumes.

One directory a container, mode 0700, made before the process starts and removed when it is gone:

  s, args       the container's socket, and the arguments of the SDK's entrypoint
  root/         what /root is on Modal: working directory, mounts
  venv/         a virtual environment on top of this one: `pip install` lands here, never in the user's environment
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STRIPPED = ("MODAL_", "JPY_", "IPYTHON", "PYTHONSTARTUP", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND", "COVERAGE_PROCESS")
"""Variables of the notebook's process that mean nothing, or the wrong thing, in a container."""


def site_directories() -> list[str]:
    """Where this interpreter's packages are: the environment of the notebook, which stands for the image's."""
    return [entry for entry in sys.path if os.path.basename(entry) in ("site-packages", "dist-packages")]


class World:
    """The directory of one container."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = os.path.join(path, "root")
        self.venv = os.path.join(path, "venv")
        self.python = os.path.join(self.venv, "bin", "python")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = os.path.join(self.venv, "lib", version, "site-packages")
        self.socket = os.path.join(path, "s")
        self.arguments = os.path.join(path, "args")

    def make(self) -> None:
        """Make the directories, and the few files that are a virtual environment: `venv` takes 100 times as long."""
        os.mkdir(self.path, 0o700)
        os.mkdir(self.root)
        os.makedirs(self.site)
        os.mkdir(os.path.dirname(self.python))
        base: str = getattr(sys, "_base_executable", sys.executable)
        os.symlink(base, self.python)
        for alias in ("python3", f"python{sys.version_info.major}.{sys.version_info.minor}"):
            os.symlink("python", os.path.join(self.venv, "bin", alias))
        self._write("venv/pyvenv.cfg", f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
        self.program("pip", f'exec {quoted(self.python)} -m pip "$@"')
        self._add_sites("b_notebook", site_directories())

    def program(self, name: str, command: str) -> None:
        """Put a shell program on the container's PATH."""
        path = self._write(f"venv/bin/{name}", f"#!/bin/sh\n{command}\n")
        os.chmod(path, 0o755)

    def add_overlays(self, directories: list[str]) -> None:
        """Put directories of packages before the notebook's, behind what the container installs itself."""
        self._add_sites("a_image", directories)

    def _add_sites(self, name: str, directories: list[str]) -> None:
        """Add directories to the import path by a .pth file; its lines run their own .pth files (editable installs)."""
        lines = [f"import site; site.addsitedir({directory!r})\n" for directory in directories]
        self._write(os.path.join(self.site, f"{name}.pth"), "".join(lines))

    def _write(self, name: str, text: str) -> str:
        path = os.path.join(self.path, name)
        with open(path, "w") as stream:
            stream.write(text)
        return path

    def environment(self) -> dict[str, str]:
        """The variables of the container before its function's own: the user's, less what is the notebook's alone."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(STRIPPED)}
        paths = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry and os.path.isabs(entry)]
        env["PYTHONPATH"] = os.pathsep.join([self.root, *paths])
        here = os.path.dirname(sys.executable)
        env["PATH"] = os.pathsep.join([os.path.join(self.venv, "bin"), here, env.get("PATH", os.defpath)])
        env["VIRTUAL_ENV"] = self.venv
        env["IPYTHONDIR"] = os.path.join(self.path, "ipython")
        env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        env["MODAL_IS_REMOTE"] = "1"
        env["MODAL_GPU_CONTAINER"] = self.path
        return env

    def remove(self) -> None:
        """Remove everything; what user code made unreadable stays for the system's cleaner."""
        shutil.rmtree(self.path, ignore_errors=True)


def quoted(path: str) -> str:
    """A path as one shell word."""
    return "'" + path.replace("'", "'\\''") + "'"


def place(target: str, content: Path, mode: int) -> None:
    """Lay one file out as a copy of its content."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(content, target)
    os.chmod(target, (mode & 0o777) or 0o644)
