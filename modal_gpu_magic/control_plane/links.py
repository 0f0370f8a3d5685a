"""Absolute paths of containers on this machine: symbolic links to volumes and mounted files, made and taken away.

There is no mount namespace here, so all containers of all local control planes share one tree of paths.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from modal_gpu_magic.control_plane.premises import links_of_others, record_links
from modal_gpu_magic.control_plane.refusals import Conflict


@dataclass(slots=True)
class Link:
    """A link in use, by how many containers, and the directories that were made for it."""

    target: str
    users: int = 0
    made: list[str] = field(default_factory=list)


class Links:
    """The links that this server's containers use."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._links: dict[str, Link] = {}
        self._lock = threading.Lock()

    def take(self, path: str, target: str) -> bool:
        """Make `path` lead to `target`. False when this user may not; raises Conflict when something is in the way."""
        with self._lock:
            link = self._links.get(path) or self._make(path, target)
            if link is None:
                return False
            if link.target != target:
                raise Conflict(f"{path} leads to {link.target} in another container that is running now.")
            link.users += 1
            return True

    def give_back(self, path: str) -> None:
        """One container less uses it; the last one removes it, unless another control plane uses it too."""
        with self._lock:
            link = self._links[path]
            link.users -= 1
            if link.users:
                return
            del self._links[path]
            record_links(self._root, self._targets())
            if path not in links_of_others(self._root) and os.path.islink(path) and os.readlink(path) == link.target:
                os.unlink(path)
                _remove_empty(link.made)

    def _make(self, path: str, target: str) -> Link | None:
        """Make the link, or find it made by another control plane."""
        made: list[str] = []
        if os.path.islink(path) and os.readlink(path) == target:
            pass
        elif os.path.lexists(path):
            raise Conflict(
                f"{path} exists on this machine, and the local backend has no way to mount over it. "
                "Mount at a path that is free here."
            )
        else:
            try:
                _make_parents(os.path.dirname(path), made)
                os.symlink(target, path)
            except OSError:
                _remove_empty(made)
                return None
        link = self._links[path] = Link(target, made=made)
        record_links(self._root, self._targets())
        return link

    def _targets(self) -> dict[str, str]:
        return {path: link.target for path, link in self._links.items()}


def _make_parents(directory: str, made: list[str]) -> None:
    """Make missing directories, noting them from the top down."""
    if not os.path.isdir(directory):
        _make_parents(os.path.dirname(directory), made)
        os.mkdir(directory)
        made.append(directory)


def _remove_empty(directories: list[str]) -> None:
    """Remove directories that we made, as far as nobody else put anything there."""
    for directory in reversed(directories):
        try:
            os.rmdir(directory)
        except OSError:
            return
