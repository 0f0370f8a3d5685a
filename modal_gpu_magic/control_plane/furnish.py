"""Laying out a container's world: its variables, GPUs, mounts, volumes, and the packages of its image."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field

from modal_gpu_magic.control_plane.links import Links
from modal_gpu_magic.control_plane.refusals import Conflict
from modal_gpu_magic.control_plane.shim import I6PN_ADDRESS
from modal_gpu_magic.control_plane.world import World, place, quoted
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.state import Container, State
    from modal_gpu_magic.control_plane.servicers.mounts import Contents
    from modal_gpu_magic.control_plane.servicers.images import Image
    from modal_gpu_magic.control_plane.gpus import Rack
    from collections.abc import Mapping

ROOT = "/root"
"""Modal's working directory and home; a directory of each container here."""

SMI_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "smi_program.py")


@dataclass(slots=True)
class Furnished:
    """What the order to a container says about its world."""

    directory: str
    variables: dict[str, str] = field(default_factory=dict)
    overlays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Furnisher:
    """Furnishes the containers of one server."""

    def __init__(self, state: State, rack: Rack, contents: Contents, images: Mapping[str, Image], root: str) -> None:
        self._state, self._rack, self._contents, self._images = state, rack, contents, images
        self._links = Links(root)
        self._mounts = os.path.join(root, "mounts")
        self._held: dict[str, list[str]] = {}

    def variables(self, container: Container) -> dict[str, str]:
        """What the function is defined with: its image's variables, its secrets, its GPUs."""
        definition = container.function.definition
        image = self._images.get(definition.image_id)
        variables = dict(image.environment) if image else {}
        for secret_id in definition.secret_ids:
            if secret := self._state.secrets.get(secret_id):
                variables.update(secret.values)
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, container.devices))
        variables[I6PN_ADDRESS] = f"::ffff:{address_of(container)}"
        if container.function.gpus and self._rack.simulated:
            variables["MODAL_GPU_SIMULATED"] = "1"
        return variables

    def furnish(self, container: Container, world: World, leader: int) -> Furnished:
        """Lay it out. Blocks; raises Conflict when a path it needs is taken."""
        furnished = Furnished(world.root)
        image = self._images.get(container.function.definition.image_id)
        if image:
            furnished.overlays = image.overlays
            world.add_overlays(image.overlays)
            furnished.notes += [f"Not applied by the local backend: {each}" for each in image.not_applied]
        self._show_gpus(container, world, leader)
        for mount_id in container.function.definition.mount_ids:
            self._lay_out_mount(container, mount_id, world, furnished)
        self._attach_volumes(container, world, furnished)
        return furnished

    def clear_up(self, container: Container) -> None:
        """Give back the links outside its directory."""
        for path in self._held.pop(container.id, []):
            self._links.give_back(path)

    # ── GPUs

    def _show_gpus(self, container: Container, world: World, leader: int) -> None:
        """Put an nvidia-smi on its PATH that shows its GPUs: simulated, or its share of the real ones."""
        spec = container.function.gpus[0] if container.function.gpus else None
        if spec is None:
            return
        if container.devices:
            real = shutil.which("nvidia-smi")
            chosen = ",".join(map(str, container.devices))
            if real and len(container.devices) < self._rack.size:
                plain = f'case "${{1:--}}" in -*) exec {quoted(real)} -i {chosen} "$@";; esac'
                world.program("nvidia-smi", f'{plain}\nexec {quoted(real)} "$@"')
            return
        from modal_gpu_magic.catalog.gpus import GPUS

        row = GPUS[spec.gives[0]]
        gpu = {"name": row.nvidia_smi_name or row.name, "memory_mib": row.nvidia_smi_memory_mib or row.vram_gb * 1000}
        listing = os.path.join(world.path, "gpus.json")
        with open(listing, "w") as stream:
            json.dump({"leader": leader, "container": container.id, "gpus": [gpu] * spec.count}, stream)
        program = f"{quoted(SMI_PROGRAM)} {quoted(listing)}"
        world.program("nvidia-smi", f'exec {quoted(sys.executable)} -I -S {program} "$@"')

    # ── mounts

    def _lay_out_mount(self, container: Container, mount_id: str, world: World, furnished: Furnished) -> None:
        """Copy its files: below the container's own /root, or once for all containers and linked to."""
        outside = os.path.join(self._mounts, mount_id)
        tops: set[str] = set()
        for file in self._state.mounts.get(mount_id, ()):
            path = os.path.normpath(file.remote_path)
            content = self._contents.path(file.sha256)
            if path.startswith(ROOT + "/"):
                place(world.root + path.removeprefix(ROOT), content, file.mode)
            else:
                if not os.path.exists(outside + path):
                    place(outside + path, content, file.mode)
                tops.add(_top(path))
        for top in sorted(tops):
            self._link(container, top, outside + top, furnished, "file")

    # ── volumes

    def _attach_volumes(self, container: Container, world: World, furnished: Furnished) -> None:
        """Make each volume's path lead to its directory, and name the directories in a variable, too."""
        directories: dict[str, str] = {}
        for mount in container.function.definition.volume_mounts:
            volume = self._state.volumes.get(mount.volume_id)
            if volume is None:
                raise Conflict(f"The volume at {mount.mount_path} has been deleted.")
            directory = os.path.join(volume.path, mount.sub_path.strip("/")) if mount.sub_path else str(volume.path)
            os.makedirs(directory, exist_ok=True)
            path = os.path.normpath(mount.mount_path)
            directories[path] = directory
            _link_inside(world, path, directory)
            self._link(container, path, directory, furnished, "volume")
        if directories:
            furnished.variables["MODAL_GPU_VOLUMES"] = json.dumps(directories)

    def _link(self, container: Container, path: str, target: str, furnished: Furnished, what: str) -> None:
        """Link an absolute path, or note what a container finds instead."""
        in_root = path == ROOT or path.startswith(ROOT + "/")
        try:
            if self._links.take(path, target):
                self._held.setdefault(container.id, []).append(path)
                return
        except Conflict:
            if not in_root:
                raise
        relative = path.removeprefix(ROOT if in_root else "").lstrip("/")
        furnished.notes.append(
            f"The {what} at {path} could not be put there on this machine: it is at ./{relative} "
            f"of the working directory, and at {target}."
        )


def _link_inside(world: World, path: str, target: str) -> None:
    """A second way to a volume, relative to the working directory, for users who may not make absolute paths."""
    link = os.path.join(world.root, path.removeprefix(ROOT).lstrip("/"))
    with suppress(FileExistsError):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(target, link)


def _top(path: str) -> str:
    """The first part of a path that is not a real directory of this machine: what is to be linked."""
    top = ""
    for part in path.strip("/").split("/"):
        top += f"/{part}"
        if os.path.islink(top) or not os.path.isdir(top):
            break
    return top


def address_of(container: Container) -> str:
    """The loopback address of a container: on Linux each member of a cluster has its own, as on Modal's network."""
    if container.cluster is None or not sys.platform.startswith("linux"):
        return "127.0.0.1"
    number = int(container.cluster.id[3:9])
    return f"127.{64 + os.getpid() % 128}.{number % 250 + 1}.{container.rank + 1}"
