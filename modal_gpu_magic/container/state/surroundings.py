"""What a cell finds beside its values: working directory, project files, modules, packages, Volumes, process state."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.container.state import files, installs
from modal_gpu_magic.container.state.installed_versions import PYTHON, Versions
from modal_gpu_magic.container.state.modules import LocalModules
from modal_gpu_magic.container.state.restoring import restore_files
from modal_gpu_magic.container.state.saving import Moment
from modal_gpu_magic.container.state.workdir import Workdir

if TYPE_CHECKING:
    from modal_gpu_magic.container.state.namespace import NamespaceSync
    from modal_gpu_magic.container.state.process import ProcessState
    from modal_gpu_magic.container.state.volumes import Say, Volumes
    from modal_gpu_magic.wire.messages.events import Request
    from modal_gpu_magic.wire.saved.reading import SavedState


class Surroundings:
    """Brings the surroundings of a cell into the notebook's state, and finds the files that cells write.

    Args:
        sync: the namespace, with the watch of the working directory.
        process: the process's state.
        say: shows a note in the notebook.

    Attributes:
        versions: differences between the notebook's packages and the container's.
        workdir: the copy of the project, and the directory in which cells run.
    """

    def __init__(self, sync: NamespaceSync, process: ProcessState, say: Say) -> None:
        self.versions = Versions()
        self.workdir = Workdir(Path.cwd())
        self._sync, self._process, self._say = sync, process, say
        self._modules = LocalModules(self.workdir)
        self._written: set[str] = set()
        """Files of the copy of the project that cells wrote."""

    def restore(self, state: SavedState | None) -> None:
        """Restore what saved values may need, packages and files; None: nothing is left to restore."""
        if state is None:
            return
        if lacking := installs.wanted(state.manifest.packages):
            installs.install_or_say(lacking, self._say)
        self._written.update(file.path for file in state.manifest.files)
        failed = restore_files(state, self.workdir.tree)
        self._written.difference_update(failed)
        for path, why in failed.items():
            self._say(f"The file `{path}` is lost: {why}.")

    def prepare(self, request: Request, volumes: Volumes) -> tuple[str, ...]:
        """Bring directory, files, modules, Volumes and process state into the notebook's state.

        Returns:
            Files that were sent and not written, because a cell changed them.
        """
        self.workdir.enter(request.files.place, request.files.followed)
        self._process.begin_in(self.workdir.path)
        if request.modules is not None:
            self._modules.take(request.modules, self._sync.namespace)
        refused = self._take_files(request)
        volumes.reload(self._say)
        for line in self.versions.compare(request.versions):
            self._say(line)
        self._process.take(request.states)
        return refused

    def written(self, since: float) -> tuple[tuple[str, int], ...]:
        """Return path and bytes of the files that a cell wrote after `since` (Unix seconds), largest first.

        They are saved with the values from now on. A path is relative to the working directory.
        """
        watch, tree = self._sync.watch, self.workdir.tree
        found = watch.written(since)
        for path in watch.take_changed():
            with contextlib.suppress(ValueError):  # outside of the copy of the project
                self._written.add(str((watch.root / path).relative_to(tree)))
        return tuple((self.workdir.name(path), nbytes) for path, nbytes in found)

    def moment(self, generation: str, claim: str) -> Moment:
        """Return what is saved beside the values.

        Args:
            generation: the life of the namespace.
            claim: the kernel's claim on a detached session.
        """
        return Moment(
            generation=generation,
            claim=claim,
            python=PYTHON,
            states=self._process.latest(),
            packages=installs.done(),
            tree=self.workdir.tree,
            place=self.workdir.place,
            files=tuple(self._written),
        )

    def _take_files(self, request: Request) -> tuple[str, ...]:
        """Write the project's files; return those not overwritten because a cell changed them. A note names each."""
        arrived = self.workdir.take(request.files)
        if self._sync.root != self.workdir.path:  # the notebook's kernel changed its directory
            self._sync.root = self.workdir.path
            self._sync.watch = files.Watch(self.workdir.tree)
        sent = (
            (*arrived, *(path[1:] for path in request.modules.paths if path[0] == "/")) if request.modules else arrived
        )
        self._sync.watch.note(sent)
        notes, refused = self.workdir.take_notes()
        for note in notes:
            self._say(note)
        return refused
