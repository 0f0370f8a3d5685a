"""Which kernel has a detached session, and what a kernel that attaches to the session gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import ProjectFiles, Transfer

if TYPE_CHECKING:
    from modal_gpu_magic.container.state.cell_values import OutgoingValues
    from modal_gpu_magic.container.state.kernel_stores import KernelStores
    from modal_gpu_magic.container.state.namespace import NamespaceSync
    from modal_gpu_magic.wire.messages.events import Request


class Ownership:
    """The claims on a session, and the values that the runs have returned.

    A claim is one kernel's, and the next claim ends it. A session that is not detached has the empty claim only.

    Args:
        sync: the namespace.
        stores: the stores of the kernel that has the session.

    Attributes:
        claim: the claim of the kernel that may send runs; empty: no kernel has claimed the session.
    """

    def __init__(self, sync: NamespaceSync, stores: KernelStores) -> None:
        self.claim = ""
        self._sync, self._stores = sync, stores
        self._former: set[str] = set()
        """Claims that ended: another kernel has attached since."""
        self._unseen: tuple[str, ...] = ()
        """Names that runs have returned to kernels which had ended: another one that attaches gets their values."""
        self._last: tuple[Request, tuple[object, ...]] | None = None
        """The last run without its values, and its result; None: that run has no log, has not ended or has failed."""
        self._returned: tuple[str, ...] = ()
        """The names that the last run has returned."""

    def has_ended(self, claim: str) -> bool:
        """Whether another kernel has claimed the session since."""
        return claim in self._former

    def resume(self, claim: str) -> None:
        """Take over the claim under which a container that has ended knew the kernel's objects."""
        self.claim = claim

    def begin_run(self, claim: str) -> None:
        """Give the session to the kernel that sends the next run.

        The kernel that sent the last run has received its values. Another kernel may have attached without them.
        """
        self._unseen = () if claim == self.claim else tuple(dict.fromkeys((*self._unseen, *self._returned)))
        self._last, self._returned = None, ()
        self._take(claim)

    def end_run(self, request: Request, result: tuple[object, ...], returned: tuple[str, ...]) -> None:
        """Note what a run has returned.

        Args:
            request: the run.
            result: the value of its last expression, if any.
            returned: the names of the returned values.
        """
        self._returned = returned
        if request.log:
            self._last = replace(request, values=Transfer(), modules=None, files=ProjectFiles()), result

    def hand_over(self, claim: str, run: str, directory: str | None) -> OutgoingValues:
        """Give the session to a kernel that attaches: the values of a run and of unseen ones, and all other names.

        Args:
            claim: the kernel's claim.
            run: the run whose values the kernel asks for. If it is not the last one, all values stay.
            directory: directory of the kernel's shared buffers; None: the message has them.
        """
        self._take(claim)
        request, result = self._last if self._last is not None and self._last[0].run == run else (None, ())
        returned = (*self._unseen, *self._returned) if request is not None else ()
        return self._sync.introduce(request, returned, result, self._stores.store(directory))

    def leave_all(self) -> OutgoingValues:
        """Pack what the last run has returned, for any kernel: the container keeps no values. The run is forgotten."""
        (request, result), self._last = self._last or (None, ()), None
        return self._sync.introduce(request, self._returned, result, InlineStore(), is_all=True)

    def _take(self, claim: str) -> None:
        """Give the session to a kernel, which shares no object with the container if another one had the session."""
        if claim == self.claim:
            return
        if self.claim:
            self._former.add(self.claim)
            self._sync.forget()
            self._stores.remove()
        self.claim = claim
