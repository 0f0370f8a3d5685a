"""Go on with the namespace of a container that has ended, from the saved state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.state.installed_versions import PYTHON
from modal_gpu_magic.container.state.restoring import CHANGED_SINCE, NOT_RELATED, Plan
from modal_gpu_magic.errors import CopyError, MachineError
from modal_gpu_magic.wire.messages.events import Need

if TYPE_CHECKING:
    from modal_gpu_magic.container.state.namespace import NamespaceSync
    from modal_gpu_magic.container.state.ownership import Ownership
    from modal_gpu_magic.container.state.saved_session import SavedSession
    from modal_gpu_magic.wire.messages.events import Request, RunTrace

NOT_WITHOUT_A_CELL = (
    "the container has ended, and the value was saved before the last cell, or before this kernel attached: the next "
    "remote cell restores what was saved, and says what is lost."
)


class Continuation:
    """The generation of this container's namespace: a new one, or that of a container whose saved state continues.

    Args:
        container: name of this container, and the generation of a namespace that begins in it.
        sync: the namespace.
        saved: the saved state of the session.
        ownership: the claims on the session.

    Attributes:
        generation: the life of the namespace.
    """

    def __init__(self, container: str, sync: NamespaceSync, saved: SavedSession, ownership: Ownership) -> None:
        self.generation = container
        self._sync, self._saved, self._ownership = sync, saved, ownership
        self._is_unsaid = False
        """Whether the state was restored, and the notebook does not know that the container is another one."""

    def need(self, request: Request) -> Need | None:
        """Go on with the namespace that a request requires, if the saved state fits.

        Returns:
            What the notebook must know or send before the cell can run; None: nothing.
        """
        generation = request.generation
        if generation is None or (generation == self.generation and not self._is_unsaid):
            return None
        if generation != self.generation:
            plan = self._plan(generation, request.history, request.fetched, request.owner)
            if isinstance(plan, str):
                return Need(self.generation, "generation", why={"": plan})
            self._take(plan, generation, request.owner)
            if not plan.continues:
                self._saved.begin()
                why = {"": CHANGED_SINCE} | self._sync.unloaded.lost
                return Need(self.generation, "rewound", restored=self._sync.names, why=why)
        self._is_unsaid = False
        return self._restored()

    def continue_for_fetch(
        self, generation: str | None, history: tuple[RunTrace, ...], received: tuple[int, ...], owner: str
    ) -> bool:
        """Go on with the saved state, if the container of a fetched value has ended; return whether it had.

        Args:
            generation: the life of the namespace that has the value; None: this container's.
            history: the runs that the notebook knows (`Request.history`).
            received: first tokens of the fetches that the notebook has received since its last run.
            owner: the kernel's claim on a detached session.

        Raises:
            MachineError: the value is lost.
        """
        if generation is None or generation == self.generation:
            return False
        plan = self._plan(generation, history, received, owner)
        if isinstance(plan, str):
            raise MachineError(f"the value is lost: {plan}. Run the cell that made it again.")
        if not plan.continues:
            raise MachineError(NOT_WITHOUT_A_CELL)
        self._take(plan, generation, owner)
        return True

    def begin(self, *, restores_any: bool) -> dict[str, dict[str, Any]]:
        """Begin a namespace of which the notebook knows nothing.

        Args:
            restores_any: a container that has had no run restores whatever is saved (`Request.restores_any`).

        Returns:
            The saved state of the process, which belongs to restored values; empty: nothing is restored.
        """
        self._sync.forget()
        if not restores_any:
            self._saved.give_up()
        elif not self._saved.has_run and isinstance(plan := self._saved.plan_any(PYTHON), Plan):
            self._saved.take(plan)
            return plan.state.manifest.states
        return {}

    def empty(self) -> None:
        """Empty the namespace (`--clean`), as a restart does; imported modules stay loaded."""
        for name in self._sync.user_names.bound:
            del self._sync.namespace[name]
        self._saved.give_up()
        self._sync.forget()

    def check_files(self, generation: str) -> None:
        """Check that this container has the files of a generation.

        Raises:
            CopyError: another container held the files.
        """
        if generation != self.generation:
            raise CopyError(
                "the container was replaced: the session's next cell restores the files that were saved."
                if self._saved.is_mounted
                else "the container was replaced, and the files of the earlier one are lost."
            )

    def _restored(self) -> Need:
        """Say what the container has of the namespace that it continues."""
        state = self._saved.state
        names, why = (self._sync.names, self._sync.unloaded.lost) if state is None else (state.names, state.unsaved)
        forgot = self._sync.table.forgotten() if state is None else state.manifest.sync.forgotten
        return Need(self.generation, "restored", restored=names, why=dict(why), forgot=forgot)

    def _plan(
        self, generation: str, history: tuple[RunTrace, ...], received: tuple[int, ...], owner: str
    ) -> Plan | str:
        """Return how this container can go on with a namespace, or why it cannot."""
        if self._saved.has_run:
            return NOT_RELATED
        return self._saved.plan(generation, history, received, PYTHON, owner)

    def _take(self, plan: Plan, generation: str, owner: str) -> None:
        """Go on with the namespace of a saved state."""
        self._saved.take(plan)
        if plan.continues:
            self._ownership.resume(owner)
            self.generation, self._is_unsaid = generation, True
