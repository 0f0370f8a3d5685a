"""Symbolic links at absolute paths of this machine, to volumes and mounted files of containers.

Containers have no mount namespaces, so the containers of all local control planes share these paths.
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
    """A link in use.

    Attributes:
        target: what the link points to.
        users: number of containers that use the link.
        made: parent directories that were created for the link.
    """

    target: Path
    users: int = 0
    made: list[Path] = field(default_factory=list)


class Links:
    """The links that this server's containers use. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._links: dict[Path, Link] = {}
        self._lock = threading.Lock()

    def take(self, path: Path, target: Path) -> bool:
        """Link `path` to `target`; return False without permission. Raises Conflict if the path is taken."""
        with self._lock:
            link = self._links.get(path) or self._make(path, target)
            if link is None:
                return False
            if link.target != target:
                raise Conflict(f"{path} points to {link.target} in another running container.")
            link.users += 1
            return True

    def give_back(self, path: Path) -> None:
        """Release a link; the last user removes it, unless another control plane uses it."""
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
        """Create the link, or reuse the one of another control plane; None without permission."""
        link = Link(target)
        try:
            if not leads_to(path, target):
                refuse_occupied(path)
                if path.is_symlink():
                    raise Conflict(f"{path} points to {path.readlink()}: another notebook uses this path.")
                _make_parents(path.parent, link.made)
                path.symlink_to(target)
        except OSError:  # also without permission to read the directory, such as /root
            _remove_empty(link.made)
            return None
        self._links[path] = link
        self._record()
        return link

    def _record(self) -> None:
        record_links(self._root, {path: link.target for path, link in self._links.items()})


def refuse_occupied(path: Path) -> None:
    """Raise Conflict if a file or directory exists at `path`, since the local backend cannot mount over it."""
    if path.exists() and not path.is_symlink():
        raise Conflict(
            f"{path} exists on this machine, and the local backend cannot mount over it. "
            "Choose a mount path that does not exist on this machine."
        )


def _make_parents(directory: Path, made: list[Path]) -> None:
    """Create missing directories and append them to `made`, from the top down."""
    if not directory.is_dir():
        _make_parents(directory.parent, made)
        directory.mkdir()
        made.append(directory)


def _remove_empty(directories: list[Path]) -> None:
    """Remove directories that are empty."""
    with suppress(OSError):
        for directory in reversed(directories):
            directory.rmdir()
