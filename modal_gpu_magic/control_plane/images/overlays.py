"""Package directories on top of the notebook's environment, for the pip layers of images.

Cached in the user's cache directory. The notebook's environment is never changed: packages that it has are left out,
and pip chooses the versions of missing packages with both in view.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from modal_gpu_magic.control_plane.images.environment import installed, site_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modal_gpu_magic.control_plane.images.installs import PipInstall

LOCK_POLL_SECONDS = 0.1
"""Time between attempts to lock an overlay that another process builds. A thread would delay the server's end."""

ERROR_LINES = 20
"""Lines of pip's output in the error of a failed build."""


class BuildFailed(Exception):  # noqa: N818 - named after the event
    """pip could not install a layer's packages; the message has its last lines."""


def overlays_directory() -> Path:
    """Return the cache directory of overlays."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "modal_gpu_magic", "overlays")


def overlay_path(install: PipInstall, below: Sequence[str]) -> Path:
    """Return the path of an install's overlay, by a hash of the install, the overlays below and the environment."""
    parts = [sys.version, sysconfig.get_platform(), repr(install), *below]
    for directory in site_directories():
        parts += [directory, *sorted(installed(directory))]
    return overlays_directory() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def satisfied(install: PipInstall, below: Sequence[str]) -> bool:
    """Return whether all packages are installed. Decided without pip, so only in simple cases; else False."""
    if install.requirements or set(install.options) & {"-U", "--upgrade", "--force-reinstall"}:
        return False
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    versions = _versions([*below, *site_directories()])
    for text in install.packages:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            return False
        version = versions.get(canonicalize_name(wanted.name))
        if version is None or wanted.url or wanted.extras or not wanted.specifier.contains(version, prereleases=True):
            return False
    return True


def _versions(directories: Sequence[str]) -> dict[str, str]:
    """Return installed versions by package name, from metadata directories; the first directory wins."""
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {}
    for directory in directories:
        for entry in installed(directory):
            name, dash, version = entry.removesuffix(".dist-info").rpartition("-")
            if dash:
                versions.setdefault(canonicalize_name(name), version)
    return versions


async def build(
    install: PipInstall,
    below: Sequence[str],
    env: Mapping[str, str],
    log: Callable[[str], None],
    *,
    kernel: Mapping[str, str] | None = None,
    force: bool = False,
) -> str:
    """Return the directory with the packages of `install`, building it if needed.

    Args:
        install: what to install.
        below: package directories of the layers below.
        env: variables of the image's build.
        log: receives pip's output.
        kernel: variables that pip and the build backends of packages inherit; None: those of this process.
        force: build again.

    Raises:
        BuildFailed: pip failed.
    """
    path = overlay_path(install, below)
    with await _lock(path):
        _remove_leftovers(path)
        if not force and await asyncio.to_thread(path.is_dir):
            log(f"Installed before: {' '.join(install.packages) or 'requirements'}\n")
        else:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"half-{path.name}-") as scratch:
                await _install(
                    install, below, {**(os.environ if kernel is None else kernel), **env}, log, Path(scratch)
                )
                _put_in_place(Path(scratch), path)
    return str(path)


async def _lock(path: Path) -> IO[str]:
    """Wait until no other process builds this overlay. Closing the file releases the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.with_suffix(".lock").open("w")
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _remove_leftovers(path: Path) -> None:
    """Remove remains of killed builds of this overlay; requires the lock."""
    for remains in path.parent.glob(f"half-{path.name}-*"):
        shutil.rmtree(remains, ignore_errors=True)


def _put_in_place(scratch: Path, path: Path) -> None:
    """Move a finished overlay into place atomically; a replaced one is removed with the scratch directory."""
    if path.is_dir():
        path.rename(scratch / "replaced")
    (scratch / "site").rename(path)


async def _install(
    install: PipInstall, below: Sequence[str], env: Mapping[str, str], log: Callable[[str], None], scratch: Path
) -> None:
    """Determine the missing packages with pip, then install exactly those into `scratch/site`.

    In two steps, because `--target` alone reinstalls every dependency, including torch, and `--prefix` removes the
    environment's version of a package that it replaces.
    """
    report = scratch / "report.json"
    files = []
    for number, text in enumerate(install.requirements):
        file = scratch / f"requirements-{number}.txt"
        file.write_text(text)
        files += ["-r", str(file)]
    arguments = [*install.options, *install.packages, *files]
    await _pip(["install", "--dry-run", "--report", str(report), *arguments], below, env, log)
    missing = [_exactly(item) for item in json.loads(report.read_text())["install"]]
    site = scratch / "site"
    site.mkdir()
    if missing:
        options = [option for option in install.options if option not in ("-U", "--upgrade", "--no-deps")]
        await _pip(["install", "--no-deps", "--target", str(site), *options, *missing], below, env, log)


def _exactly(item: Mapping[str, Any]) -> str:
    """Return a package of pip's report as a requirement of exactly that version or URL."""
    metadata = item["metadata"]
    if item.get("is_direct"):
        return f"{metadata['name']} @ {item['download_info']['url']}"
    return f"{metadata['name']}=={metadata['version']}"


async def _pip(
    arguments: Sequence[str], below: Sequence[str], env: Mapping[str, str], log: Callable[[str], None]
) -> None:
    """Run pip with the overlays below on its path; raise BuildFailed with its last lines."""
    command, path = pip_command()
    paths = [*below, *path, *env.get("PYTHONPATH", "").split(os.pathsep)]
    variables = {**env, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    variables |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        "--progress-bar=off",
        env=variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )
    last: deque[str] = deque(maxlen=ERROR_LINES)
    try:
        async for line in cast("asyncio.StreamReader", process.stdout):
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
    """Return pip's command and its import path: the environment's pip, or the one bundled with Python."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"], []
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = Path(ensurepip.origin).parent / "_bundled" if ensurepip and ensurepip.origin else Path()
    wheel = next(iter(sorted(bundled.glob("pip-*.whl"))), None)
    if wheel is None:
        raise BuildFailed(f"{sys.executable} has no pip. Install pip or the packages in that environment.")
    return [sys.executable, "-m", "pip"], [str(wheel)]
