"""What Modal calls on each node of a cluster, and what a rank runs there: thin shells around `container.node`.

A cluster has no session: the function keeps nothing from one cell to the next.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.limits import CLUSTER_NODES, QUEUE_POLL_SECONDS
from modal_gpu_magic.container.node import Node, Peers
from modal_gpu_magic.container.ranks.launcher import Place
from modal_gpu_magic.sdk import modal_cluster
from modal_gpu_magic.sdk.entry import STDIN_SECONDS, mounted

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.wire.messages.events import Answer, Request

CONTEXT = "MODAL_GPU_CLUSTER"
"""Environment variable: what Modal told this container of its cluster, as JSON, for its ranks."""
POLL_SECONDS = QUEUE_POLL_SECONDS - 5
"""Length of one long poll of the queue."""


def run(request: Request, events: modal.Queue) -> Answer:
    """Run one cell on this node. Node 0's answer is the run's; a failure of any node ends all."""

    def post(frames: list[bytes]) -> None:
        events.put_many(frames, block=False)

    def answer() -> str:
        return str(events.get(partition=f"stdin-{request.run}", timeout=STDIN_SECONDS))

    def tell(frames: int) -> None:
        events.put(frames, partition=_partition(request), block=False)

    def await_all() -> int:
        told: list[int] = []
        while len(told) < node().place.nodes - 1:  # a node that dies ends this one, too, and so does the time limit
            with contextlib.suppress(queue.Empty):
                told += events.get_many(CLUSTER_NODES, timeout=POLL_SECONDS, partition=_partition(request))
        return sum(told)

    return node().take_part(request, post, answer, mounted(request.volumes), Peers(tell, await_all))


@functools.cache
def node() -> Node:
    """This container's, made by its first cell."""
    context = modal_cluster.context()
    return Node(
        Place(
            node=context["rank"],
            nodes=len(context["container_ips"]),
            master=_plain(context["container_ips"][0]),
            stateless=True,
            program=__name__,
            variables={CONTEXT: json.dumps(context)},
        )
    )


def _plain(address: str) -> str:
    """An IPv4 address that is written as IPv6 (the local control plane's) as it is."""
    return address.removeprefix("::ffff:")


def _partition(request: Request) -> str:
    return f"nodes-{request.run}"


def rank() -> None:
    """A rank of a cluster: what Modal tells a container of its cluster holds in the ranks, too."""
    from modal_gpu_magic.container.ranks.rank import main

    modal_cluster.enter(json.loads(os.environ[CONTEXT]))
    main()


if __name__ == "__main__":
    rank()
