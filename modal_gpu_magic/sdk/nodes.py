"""The function that Modal calls on each node of a cluster, and the program of a rank: both forward to `container.node`.

A cluster has no session: the function keeps nothing from one cell to the next. The kernel needs nothing of the
container, which is therefore imported when a cell starts.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.limits import CLUSTER_NODES, QUEUE_POLL_SECONDS
from modal_gpu_magic.sdk import modal_cluster
from modal_gpu_magic.sdk.entry import answers_from, mounted, session_volume

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.container.node import Node
    from modal_gpu_magic.wire.messages.events import Answer, Request

CONTEXT = "MODAL_GPU_CLUSTER"
"""Environment variable with the container's cluster information, as JSON, for its ranks."""
POLL_SECONDS = QUEUE_POLL_SECONDS - 5
"""Seconds of one long poll of the queue."""


def run(request: Request, events: modal.Queue) -> Answer:
    """Run one cell on this node. Node 0's answer is the run's answer; a failed node ends all others."""
    from modal_gpu_magic.container.node import Peers

    def post(frames: list[bytes]) -> None:
        events.put_many(frames, block=False)

    def tell(frames: int) -> None:
        events.put(frames, partition=_partition(request), block=False)

    def await_all() -> int:
        frames: list[int] = []
        while len(frames) < node().place.nodes - 1:  # Modal ends this node as well if a node dies or the time is up
            with contextlib.suppress(queue.Empty):
                frames += events.get_many(CLUSTER_NODES, timeout=POLL_SECONDS, partition=_partition(request))
        return sum(frames)

    answer = answers_from(events, request.run)
    peers, volume = Peers(tell, await_all), session_volume(request.session_volume)
    return node().take_part(request, post, answer, mounted(request.volumes), peers, volume)


@functools.cache
def node() -> Node:
    """Return this container's node; its first cell makes it."""
    from modal_gpu_magic.container.node import Node
    from modal_gpu_magic.container.ranks.launcher import Place

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
    """Return an IPv4 address without its IPv6 prefix (used by the local control plane)."""
    return address.removeprefix("::ffff:")


def _partition(request: Request) -> str:
    return f"nodes-{request.run}"


def rank() -> None:
    """Run a rank of a cluster: set the container's cluster information in the rank as well."""
    from modal_gpu_magic.container.ranks.rank import main

    modal_cluster.enter(json.loads(os.environ[CONTEXT]))
    main()


if __name__ == "__main__":
    rank()
