"""Modal's rules for clusters and ranks, checked before anything is sent. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.limits import CLUSTER_GPUS, CLUSTER_NODES
from modal_gpu_magic.errors import LineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.line.options import Options
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.line.spec import GpuSpec


def refusal(gpus: Sequence[GpuSpec], nodes: int, *, rdma: bool = False) -> str | None:
    """Return the sentence that says why Modal has no such cluster, with the fix; None: Modal has the cluster."""
    if nodes < 1:
        return f"A machine needs at least one node, not {nodes}; write nodes=1 or more."
    if nodes == 1:
        return "RDMA links the nodes of a cluster; write nodes=2 or more, or leave rdma out." if rdma else None
    if not gpus:
        return f"Modal has no clusters without GPUs; write GPUs too, such as H100:8 --nodes {nodes}."
    for spec in gpus:
        if spec.name in GPUS and spec.count != (whole := GPUS[spec.name].max_count):
            return (
                f"{spec} is a part of a node, and a cluster consists of whole nodes; "
                f"write {spec.name}{'!' if spec.strict else ''}:{whole}."
            )
    most = max(spec.count for spec in gpus) * nodes
    if nodes > CLUSTER_NODES or most > CLUSTER_GPUS:
        return (
            f"{nodes} nodes with {most} GPUs are more than Modal links ({CLUSTER_NODES}, {CLUSTER_GPUS}); "
            "write fewer nodes."
        )
    if rdma and not has_rdma(gpus):
        return (
            f"{without_rdma(gpus)} has no RDMA at Modal; write rdma=False (--no-rdma), or use H100, H200, B200 or B300."
        )
    return None


def has_rdma(gpus: Sequence[GpuSpec]) -> bool:
    """Whether Modal links nodes by RDMA for all of these GPUs."""
    return bool(gpus) and all(spec.name in GPUS and GPUS[spec.name].rdma for spec in gpus)


def without_rdma(gpus: Sequence[GpuSpec]) -> str:
    """Return the name of the first GPU without RDMA; empty: all have RDMA."""
    return next((spec.name for spec in gpus if not has_rdma([spec])), "")


def check(line: Line, gpus: Sequence[GpuSpec]) -> None:
    """Check the ranks and nodes of a line against the GPUs of the line or of the session.

    Raises:
        LineError: one sentence with the option at fault and the fix.
    """
    options = line.options
    for flag, fault in _faults(options, gpus):
        if fault:
            found = re.search(rf"{flag}(\s+|=)?[^\s-]*", line.text)
            start, end = found.span() if found else (0, len(line.text))
            raise LineError(fault, line.text, start, start + len(line.text[start:end].rstrip()))


def _faults(options: Options, gpus: Sequence[GpuSpec]) -> list[tuple[str, str | None]]:
    """Return each option with the fault of the option, if any, in the order in which to fix them."""
    return [
        ("--no-rdma", None if options.nodes or not options.no_rdma else _ALONE),
        ("--nodes", refusal(gpus, options.nodes) if options.nodes else None),
        ("--torchrun", None if options.torchrun is None else _too_many(options.torchrun, gpus)),
        ("--ranks", None if options.ranks is None else _no_such_rank(options, gpus)),
    ]


_ALONE = "--no-rdma needs a cluster; add --nodes N, or remove --no-rdma."


def _too_many(processes: int, gpus: Sequence[GpuSpec]) -> str | None:
    if not gpus:
        return None if processes else "Without GPUs torchrun needs a number of processes; write --torchrun 2."
    fewest = min(gpus, key=lambda spec: spec.count)
    if processes <= fewest.count:
        return None
    return (
        f"{processes} processes are more than {fewest} has GPUs; write --torchrun {fewest.count}, or ask for more GPUs."
    )


def _no_such_rank(options: Options, gpus: Sequence[GpuSpec]) -> str | None:
    if options.torchrun is None and (options.nodes or 1) == 1:
        return "--ranks needs --torchrun; add --torchrun, or remove --ranks."
    ranks = options.ranks or ()
    if "all" in ranks:
        return "All ranks include the others; write --ranks all." if len(ranks) > 1 else None
    a_node = 1 if options.torchrun is None else options.torchrun or max((spec.count for spec in gpus), default=1)
    world = a_node * (options.nodes or 1)
    beyond = [rank for rank in ranks if int(rank) >= world]
    return (
        f"Rank {beyond[0]} does not exist: ranks are 0 to {world - 1}; write --ranks all for all." if beyond else None
    )
