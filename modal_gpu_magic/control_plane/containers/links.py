"""Absolute paths of containers on this machine: symbolic links to volumes and mounted files, made and taken away.

There is no mount namespace here, so all containers of all local control planes share one tree of paths.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modal_gpu_magic.control_plane.containers.server_dirs import leads_to, links_of_others, record_links
from modal_gpu_magic.control_plane.refusals import Conflict


@dataclass(slots=True)
class Link:
    """A link in use, by how many containers, and the directories that were made for it."""

    target: Path
    users: int = 0
    made: list[Path] = field(default_factory=list)


class Links:
    """The links that this server's containers use. Safe to use from threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._links: dict[Path, Link] = {}
        self._lock = threading.Lock()

    def take(self, path: Path, target: Path) -> bool:
        """Make `path` lead to `target`. False when this user may not; raises Conflict when something is in the way."""
        with self._lock:
            link = self._links.get(path) or self._make(path, target)
            if link is None:
                return False
            if link.target != target:
                raise Conflict(f"{path} leads to {link.target} in another container that is running now.")
            link.users += 1
            return True

    def give_back(self, path: Path) -> None:
        """One container less uses it; the last one removes it, unless another control plane uses it too."""
        with self._lock:
            link = self._links[path]
            link.users -= 1
            if link.users:
                return
            del self._links[path]
            self._record()
            if path not in links_of_others(self._root) and leads_to(path, link.target):
                path.unlink()
                _remove_empty(link.made)

    def _make(self, path: Path, target: Path) -> Link | None:
        """Make the link, or find it made by another control plane."""
        link = Link(target)
        try:
            if not leads_to(path, target):
                refuse_occupied(path)
                if path.is_symlink():
                    raise Conflict(f"{path} leads to {path.readlink()}: another notebook uses it for something else.")
                _make_parents(path.parent, link.made)
                path.symlink_to(target)
        except OSError:  # also where this user may not even look: /root is its owner's alone
            _remove_empty(link.made)
            return None
        self._links[path] = link
        self._record()
        return link

    def _record(self) -> None:
        record_links(self._root, {path: link.target for path, link in self._links.items()})


def refuse_occupied(path: Path) -> None:
    """Raise Conflict when something real is at `path`: there is no mounting over it."""
    if path.exists() and not path.is_symlink():
        raise Conflict(
            f"{path} exists on this machine, and the local backend has no way to mount over it. "
            "Mount at a path that is free here."
        )


def _make_parents(directory: Path, made: list[Path]) -> None:
    """Make missing directories, noting them from the top down."""
    if not directory.is_dir():
        _make_parents(directory.parent, made)
        directory.mkdir()
        made.append(directory)


def _remove_empty(directories: list[Path]) -> None:
    """Remove directories that we made, as far as nobody else put anything there."""
    with suppress(OSError):
        for directory in reversed(directories):
            directory.rmdir()
