"""Limits of clusters on Modal, which Modal's client does not check. Pure functions.

Source: modal.com/docs/guide/multi-node-clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.limits import CLUSTER_GPUS, CLUSTER_NODES
from modal_gpu_magic.control_plane.refusals import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.line.spec import GpuSpec

WITH_RDMA = ("H100", "H200", "B200", "B300")
"""GPUs whose nodes are connected with RDMA."""


def check_cluster(nodes: int, specs: Sequence[GpuSpec], *, rdma: bool) -> None:
    """Raise Invalid, with a suggestion, for a cluster that Modal would refuse with any of the GPUs in `specs`."""
    from modal_gpu_magic.catalog.gpus import GPUS

    if nodes > CLUSTER_NODES:
        raise Invalid(f"A cluster has at most {CLUSTER_NODES} nodes on Modal; this one has {nodes}.")
    if not specs:
        raise Invalid(f'A cluster needs GPUs on Modal: for example gpu="{WITH_RDMA[0]}:8".')
    for spec in specs:
        row = GPUS[spec.gives[0]]
        if spec.count != row.max_count:
            whole = f"{spec.name}:{row.max_count}"
            raise Invalid(f"A cluster uses whole nodes on Modal: {whole}, not {spec}.")
        if nodes * spec.count > CLUSTER_GPUS:
            raise Invalid(f"A cluster has at most {CLUSTER_GPUS} GPUs on Modal; {nodes} nodes of {spec} have more.")
        if rdma and row.name not in WITH_RDMA:
            raise Invalid(f"Modal has RDMA for {', '.join(WITH_RDMA)}, not for {spec.name}: remove rdma=True.")
