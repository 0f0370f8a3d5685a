"""A node of a cluster: a worker that forgets, and that ends together with the workers of the other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.errors import RunError
from modal_gpu_magic.wire.messages.events import DistributedOptions

if TYPE_CHECKING:
    from modal_gpu_magic.container.process.interrupt import Interrupt
    from modal_gpu_magic.container.ranks.launcher import Place
    from modal_gpu_magic.container.state.volumes import Volumes
    from modal_gpu_magic.container.worker import Post
    from modal_gpu_magic.wire.messages.events import Answer, Request


@dataclass(frozen=True, slots=True)
class Peers:
    """The other nodes, for the length of one run.

    Attributes:
        tell: tells node 0 that all events of this node are in the queue, in so many frames.
        await_all: node 0: waits for that of all others; returns how many frames they put.
    """

    tell: Callable[[int], None]
    await_all: Callable[[], int]


class Node(Worker):
    """One container's. A cell is run on every node of the cluster at once; node 0's answer is the run's."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"node {place.node}", place)
        self._peers: Peers | None = None
        self._theirs = 0

    def take_part(
        self, request: Request, post: Post, answer: Callable[[], str], volumes: Volumes, peers: Peers
    ) -> Answer:
        """Run one cell's part of this node.

        Raises:
            RunError: the cell failed here. Its failure is in the queue already; this ends the other nodes.
        """
        self._peers, self._theirs = peers, 0
        first = self.place.node == 0
        ended = self.run(
            replace(
                request,
                run=request.run if first else f"{request.run}/{self.place.node}",
                clean=True,
                generation=None,
                distributed=request.distributed or DistributedOptions(torchrun=False),
                stdin=request.stdin and first,
            ),
            post,
            answer,
            volumes,
        )
        if not first and not _has_failed(ended):
            peers.tell(ended.frames)
        if _has_failed(ended):
            raise RunError(f"node {self.place.node}: {ended.failure.ename}: {ended.failure.evalue}")  # type: ignore[union-attr]  # it has
        return replace(ended, frames=ended.frames + self._theirs)

    def _close(self, ended: Answer, interrupt: Interrupt) -> None:
        """Of a failing node the end goes through the queue, as after ■; of the others, node 0 speaks last."""
        if _has_failed(ended):
            self._say_end(ended)
        elif self.place.node > 0:
            self.sender.flush_now()
        else:
            self._theirs = self._peers.await_all() if self._peers else 0
            super()._close(ended, interrupt)


def _has_failed(ended: Answer) -> bool:
    """By itself: a cell that was stopped, or whose time was up, ends on all nodes alike."""
    return ended.failure is not None and not (ended.stopped or ended.timed_out)
