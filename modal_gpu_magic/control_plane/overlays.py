"""Directories of packages on top of the notebook's environment: what an image's pip layers add to it.

Cached by content in the user's cache directory. The notebook's environment is never written to: what it has already is
left out, what is missing goes to the overlay, in the versions that pip chooses with both in sight.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
import tempfile
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.control_plane.world import site_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modal_gpu_magic.control_plane.layers import PipInstall

LAST_LINES = 20
"""Lines of pip's output that a failed build is told with."""


class BuildFailed(Exception):  # noqa: N818 - it reads as what happened
    """pip could not install what a layer asks for; its last lines."""


def overlays_directory() -> Path:
    """Where overlays are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "modal_gpu_magic", "overlays")


def overlay_path(install: PipInstall, below: Sequence[str]) -> Path:
    """Where the overlay of an install is, or will be: by what is asked for, the overlays below, and the environment."""
    parts = [sys.version, sysconfig.get_platform(), repr(install), *below]
    for directory in site_directories():
        parts += [directory, *sorted(name for name in _listed(directory) if name.endswith(".dist-info"))]
    return overlays_directory() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def satisfied(install: PipInstall, below: Sequence[str]) -> bool:
    """Whether the environment, with the overlays below, has it all: decided without pip, so only where it is plain."""
    if install.requirements or set(install.options) & {"-U", "--upgrade", "--force-reinstall"}:
        return False
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return False
    versions = _versions([*below, *site_directories()])
    for text in install.packages:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            return False
        version = versions.get(_normal(wanted.name))
        if version is None or wanted.url or wanted.extras or not wanted.specifier.contains(version, prereleases=True):
            return False
    return True


def _versions(directories: Sequence[str]) -> dict[str, str]:
    """Installed packages by name, from the names of their metadata directories; the first directory counts."""
    versions: dict[str, str] = {}
    for directory in directories:
        for entry in _listed(directory):
            name, dash, version = entry.removesuffix(".dist-info").rpartition("-")
            if dash and entry.endswith(".dist-info"):
                versions.setdefault(_normal(name), version)
    return versions


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


async def build(
    install: PipInstall, below: Sequence[str], env: Mapping[str, str], log: Callable[[str], None], force: bool = False
) -> str:
    """The directory with what `install` adds, made if it is not there. `log` gets pip's lines as they come.

    Raises BuildFailed.
    """
    path = overlay_path(install, below)
    path.parent.mkdir(parents=True, exist_ok=True)
    with await asyncio.to_thread(_locked, path):
        if path.is_dir() and not force:
            return str(path)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="half-") as scratch:
            await _install(install, below, env, log, Path(scratch))
            if path.is_dir():
                path.rename(Path(scratch, "replaced"))
            Path(scratch, "site").rename(path)
    return str(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process builds an overlay."""
    with open(path.with_suffix(".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


async def _install(
    install: PipInstall, below: Sequence[str], env: Mapping[str, str], log: Callable[[str], None], scratch: Path
) -> None:
    """Let pip say what is missing, then put exactly that into `scratch/site`.

    In two steps: `--target` alone installs every dependency again, torch included; `--prefix` removes the
    environment's own version of a package that it replaces.
    """
    report = scratch / "report.json"
    files = []
    for number, text in enumerate(install.requirements):
        file = scratch / f"requirements-{number}.txt"
        file.write_text(text)
        files += ["-r", str(file)]
    asked = [*install.options, *install.packages, *files]
    await _pip(["install", "--dry-run", "--report", str(report), *asked], below, env, log)
    missing = [_exactly(item) for item in json.loads(report.read_text())["install"]]
    site = scratch / "site"
    site.mkdir()
    if missing:
        options = [option for option in install.options if option not in ("-U", "--upgrade", "--no-deps")]
        await _pip(["install", "--no-deps", "--target", str(site), *options, *missing], below, env, log)


def _exactly(item: Mapping[str, Any]) -> str:
    """A package of pip's report as a requirement that gives the same again."""
    metadata = item["metadata"]
    if item.get("is_direct"):
        return f"{metadata['name']} @ {item['download_info']['url']}"
    return f"{metadata['name']}=={metadata['version']}"


async def _pip(
    arguments: Sequence[str], below: Sequence[str], env: Mapping[str, str], log: Callable[[str], None]
) -> None:
    """Run pip with the overlays below in its sight; raises BuildFailed with its last lines."""
    command, path = pip_command()
    paths = [*below, *path, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    variables = {**os.environ, **env, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    variables |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        "--progress-bar=off",
        env=variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        async for line in process.stdout:
            text = line.decode("utf-8", "replace")
            last.append(text)
            log(text)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code != 0:
        raise BuildFailed("".join(last).strip() or f"pip failed with exit code {code}")


def pip_command() -> tuple[list[str], list[str]]:
    """How to run pip, and what it needs on its path: the environment's own, or the one that Python bundles."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"], []
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = Path(ensurepip.origin).parent / "_bundled" if ensurepip and ensurepip.origin else Path()
    wheel = next(iter(sorted(bundled.glob("pip-*.whl"))), None)
    if wheel is None:
        raise BuildFailed(f"{sys.executable} has no pip. Install it there, or install the packages yourself.")
    return [sys.executable, "-m", "pip"], [str(wheel)]
