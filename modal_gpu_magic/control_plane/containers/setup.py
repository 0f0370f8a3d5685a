"""Set up a container: variables, GPUs, mounts, volumes, and the packages of its image."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.control_plane.containers import smi_program
from modal_gpu_magic.control_plane.containers.fork_server_program import I6PN_ADDRESS
from modal_gpu_magic.control_plane.containers.links import Links
from modal_gpu_magic.control_plane.containers.root import ContainerRoot, place, quoted
from modal_gpu_magic.control_plane.files.tree import within
from modal_gpu_magic.control_plane.refusals import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.control_plane.images.contents import Contents
    from modal_gpu_magic.control_plane.images.image import Image
    from modal_gpu_magic.control_plane.scheduling.gpu_pool import GpuPool
    from modal_gpu_magic.control_plane.scheduling.state import Container, MountedFile, State
    from modal_gpu_magic.line.spec import GpuSpec

ROOT = Path("/root")
"""Modal's working and home directory; stands for a directory of each local container."""


@dataclass(slots=True)
class SetupResult:
    """Results of setting up a container.

    Attributes:
        variables: additional environment variables.
        overlays: package directories for the import path.
        notes: lines for the container's log.
    """

    variables: dict[str, str] = field(default_factory=dict)
    overlays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ContainerSetup:
    """Sets up the containers of one server."""

    def __init__(
        self, state: State, pool: GpuPool, contents: Contents, images: Mapping[str, Image], root: Path
    ) -> None:
        self._state, self._pool, self._contents, self._images = state, pool, contents, images
        self._links = Links(root)
        self._mounts = root / "mounts"
        self._links_in_use: dict[str, list[Path]] = {}

    def variables(self, container: Container) -> dict[str, str]:
        """Return the variables of the function's definition: image, secrets and GPUs."""
        definition = container.function.definition
        image = self._images.get(definition.image_id)
        variables = dict(image.environment) if image else {}
        for secret_id in definition.secret_ids:
            if secret := self._state.secrets.get(secret_id):
                variables.update(secret.values)
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, container.devices))
        variables[I6PN_ADDRESS] = f"::ffff:{address_of(container)}"
        if container.function.gpus and self._pool.simulated:
            variables["MODAL_GPU_SIMULATED"] = "1"
        return variables

    def set_up(self, container: Container, container_root: ContainerRoot, leader: int) -> SetupResult:
        """Set up a container; `leader` is the pid of its process. Blocks. Raises Conflict if a path is taken."""
        setup_result = SetupResult()
        definition = container.function.definition
        if image := self._images.get(definition.image_id):
            setup_result.overlays = image.overlays
            container_root.add_overlays(image.overlays)
            setup_result.notes += [f"Not applied by the local backend: {each}" for each in image.not_applied]
            self._lay_out(container, image.id, image.files, container_root, setup_result)
        if container.devices:
            self._limit_smi(container_root, container.devices)
        elif container.function.gpus:
            simulate_smi(container_root, container.function.gpus[0], container.id, leader)
        for mount_id in definition.mount_ids:
            self._lay_out(container, mount_id, self._state.mounts.get(mount_id, ()), container_root, setup_result)
        self._attach_volumes(container, container_root, setup_result)
        return setup_result

    def clear_up(self, container: Container) -> None:
        """Release the container's links."""
        for path in self._links_in_use.pop(container.id, []):
            self._links.give_back(path)

    def _limit_smi(self, container_root: ContainerRoot, devices: tuple[int, ...]) -> None:
        """Add an nvidia-smi that shows only `devices`, since the real one ignores CUDA_VISIBLE_DEVICES."""
        real = shutil.which("nvidia-smi")
        if real and len(devices) < self._pool.size:
            chosen = f'exec {quoted(real)} -i {",".join(map(str, devices))} "$@"'
            container_root.program("nvidia-smi", f'case "${{1:--}}" in -*) {chosen};; esac\nexec {quoted(real)} "$@"')

    def _lay_out(
        self,
        container: Container,
        key: str,
        files: Iterable[MountedFile],
        container_root: ContainerRoot,
        setup_result: SetupResult,
    ) -> None:
        """Copy files of a mount or an image: those below /root per container, others once, with links to them."""
        shared = self._mounts / key
        tops: set[Path] = set()
        for file in files:
            path = Path(os.path.normpath(file.remote_path))
            content = self._contents.path(file.sha256)
            if path.is_relative_to(ROOT):
                place(container_root.root / path.relative_to(ROOT), content, file.mode)
                continue
            inside = shared / path.relative_to("/")
            if not inside.exists():
                place(inside, content, file.mode)
            tops.add(_first_missing(path))
        for top in sorted(tops):
            self._link(container, top, shared / top.relative_to("/"), setup_result)

    def _attach_volumes(self, container: Container, container_root: ContainerRoot, setup_result: SetupResult) -> None:
        """Link each volume's path to its directory, and list the directories in an environment variable.

        The Volume of a session gets no link: each session has one of its own at the same path, and user code has
        nothing to look for there.
        """
        directories: dict[str, str] = {}
        for mount in container.function.definition.volume_mounts:
            volume = self._state.volumes.get(mount.volume_id)
            if volume is None:
                raise Conflict(f"The volume at {mount.mount_path} has been deleted.")
            directory = within(volume.path, mount.sub_path)
            directory.mkdir(parents=True, exist_ok=True)
            if not directory.resolve().is_relative_to(volume.path.resolve()):
                raise Conflict(f"{mount.sub_path!r} is a link to a path outside the volume.")
            path = Path(os.path.normpath(mount.mount_path))
            directories[str(path)] = str(directory)
            if str(path) == SESSION_MOUNT:  # containers of other kernels have the same path, and another Volume
                continue
            _link_inside(container_root, path, directory)
            self._link(container, path, directory, setup_result)
        setup_result.variables["MODAL_GPU_VOLUMES"] = json.dumps(directories)

    def _link(self, container: Container, path: Path, target: Path, setup_result: SetupResult) -> None:
        """Link an absolute path, or log where the content is instead. Conflicts below /root are not errors."""
        try:
            if self._links.take(path, target):
                self._links_in_use.setdefault(container.id, []).append(path)
                return
        except Conflict:
            if not path.is_relative_to(ROOT):
                raise
        setup_result.notes.append(f"Cannot create {path} on this machine; its content is in {target}.")


def simulate_smi(container_root: ContainerRoot, spec: GpuSpec, container_id: str, leader: int) -> None:
    """Add a simulated nvidia-smi, whose load is that of the process `leader` and its descendants."""
    from modal_gpu_magic.catalog.gpus import GPUS

    row = GPUS[spec.gives[0]]
    gpu = f"{row.nvidia_smi_name or row.name}\t{row.nvidia_smi_memory_mib or row.vram_gb * 1000}\n"
    listing = container_root.path / "gpus"
    listing.write_text(f"{leader} {container_id}\n{gpu * spec.count}")
    program = f"{quoted(sys.executable)} -I -S {quoted(smi_program.__file__)} {quoted(listing)}"
    container_root.program("nvidia-smi", f'exec {program} "$@"')


def _link_inside(container_root: ContainerRoot, path: Path, target: Path) -> None:
    """Link a volume relative to the working directory, for users who may not create absolute paths."""
    link = container_root.root / path.relative_to(ROOT if path.is_relative_to(ROOT) else "/")
    with suppress(FileExistsError):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


def _first_missing(path: Path) -> Path:
    """Return the first part of a path that is not a real directory: the part to link."""
    parts = [path, *path.parents][-2::-1]
    return next((part for part in parts if part.is_symlink() or not part.is_dir()), path)


def address_of(container: Container) -> str:
    """Return a container's loopback address: on Linux, members of a cluster have one each, as in Modal's network."""
    if container.cluster is None or not sys.platform.startswith("linux"):
        return "127.0.0.1"
    number = int(container.cluster.id[3:9])
    return f"127.{64 + os.getpid() % 128}.{number % 250 + 1}.{container.rank + 1}"
