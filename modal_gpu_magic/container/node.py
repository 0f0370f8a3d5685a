"""A node of a cluster: a stateless worker that ends together with the workers of the other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modal_gpu_magic.container.state.session_mount import NO_SESSION_VOLUME, SessionVolume
from modal_gpu_magic.container.worker import COMMIT_SECONDS, Worker
from modal_gpu_magic.errors import RunError
from modal_gpu_magic.wire.messages.events import DistributedOptions
from modal_gpu_magic.wire.messages.segments import run_of_node

if TYPE_CHECKING:
    from modal_gpu_magic.container.process.interrupt import Interrupt
    from modal_gpu_magic.container.ranks.launcher import Place
    from modal_gpu_magic.container.state.volumes import Volumes
    from modal_gpu_magic.container.worker import Post
    from modal_gpu_magic.wire.messages.events import Answer, Request


@dataclass(frozen=True, slots=True)
class Peers:
    """The other nodes of the cluster, during one run.

    Attributes:
        tell: reports to node 0 that all events of this node are in the queue, with the number of frames.
        await_all: on node 0, waits for the reports of all other nodes and returns their total number of frames.
    """

    tell: Callable[[int], None]
    await_all: Callable[[], int]


class Node(Worker):
    """The worker of one node. Every node of the cluster runs the cell at once; node 0's answer is the run's answer."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"node {place.node}", place)
        self._peers: Peers | None = None
        self._peer_frames = 0

    def take_part(
        self,
        request: Request,
        post: Post,
        answer: Callable[[], str],
        volumes: Volumes,
        peers: Peers,
        volume: SessionVolume = NO_SESSION_VOLUME,
    ) -> Answer:
        """Run a cell on this node, as `Worker.run` does.

        Args:
            request: the run.
            post: puts frames into the queue.
            answer: waits for the answer of `input()`.
            volumes: the user's Volumes.
            peers: the other nodes.
            volume: the session Volume.

        Raises:
            RunError: the cell failed on this node. The failure is already in the queue; raising ends the other nodes.
        """
        self._peers, self._peer_frames = peers, 0
        first = self.place.node == 0
        ended = self.run(
            replace(
                request,
                run=run_of_node(request.run, self.place.node),
                clean=True,
                generation=None,
                distributed=request.distributed or DistributedOptions(torchrun=False),
                stdin=request.stdin and first,
            ),
            post,
            answer,
            volumes,
            volume,
        )
        self._log_closing.finish(COMMIT_SECONDS)  # Modal may end the node with its answer, or with another node
        if not first and not _has_failed(ended):
            peers.tell(ended.frames)
        if _has_failed(ended):
            raise RunError(f"node {self.place.node}: {ended.failure.ename}: {ended.failure.evalue}")  # type: ignore[union-attr]  # `failure` is set
        return replace(ended, frames=ended.frames + self._peer_frames)

    def _close(self, request: Request, ended: Answer, interrupt: Interrupt) -> bool:
        """Send the answer of a failed node through the queue, as after ■; otherwise node 0 sends its answer last."""
        if _has_failed(ended):
            return self.delivery.send_as_event(ended)
        if self.place.node > 0:
            self.sender.flush_now()
            return False
        self._peer_frames = self._peers.await_all() if self._peers else 0
        return super()._close(request, ended, interrupt)


def _has_failed(ended: Answer) -> bool:
    """Whether the cell raised an error: after a stop or a timeout, all nodes end in the same way."""
    return ended.failure is not None and not (ended.stopped or ended.timed_out)
